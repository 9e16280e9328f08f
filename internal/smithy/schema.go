package smithy

// Schema describes an API's shapes for protocols that need more type information than JSON does.
type Schema struct {
	Inputs, Outputs map[string]string // shape of each operation
	Shapes          map[string]ShapeInfo
}

// ShapeInfo describes a shape: a structure, list, map, string, boolean, integer, long, double, timestamp or blob.
type ShapeInfo struct {
	Kind    string
	Members map[string]string // shapes of a structure's members
	Member  string            // shape of a list's elements
	Value   string            // shape of a map's values
}
