package api

// NoOutput is the answer of operations that have none.
type NoOutput struct{}

// AppendJSON implements smithy.Renderer.
func (*NoOutput) AppendJSON(dst []byte) []byte { return append(dst, '{', '}') }
