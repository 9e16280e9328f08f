package api

// NoOutput is the output of operations without one.
type NoOutput struct{}

// AppendJSON implements smithy.Renderer.
func (*NoOutput) AppendJSON(dst []byte) []byte { return append(dst, '{', '}') }
