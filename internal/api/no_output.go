package api

// NoOutput is the answer of operations that have none. AWS sends it as an empty body, not as an empty object.
type NoOutput struct{}

// AppendJSON implements smithy.Renderer.
func (*NoOutput) AppendJSON(dst []byte) []byte { return dst }
