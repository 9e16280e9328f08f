package smithy

// Schema describes an API's shapes to protocols that must know more of them than JSON does.
type Schema struct {
	Inputs, Outputs map[string]string // shapes by operation
	Shapes          map[string]ShapeInfo
}

// ShapeInfo is what a shape is: a structure, list, map, string, boolean, integer, long, double, timestamp or blob.
type ShapeInfo struct {
	Kind    string
	Members map[string]string // a structure's, with their shapes
	Member  string            // the shape of a list's elements
	Value   string            // the shape of a map's values
}
