package httpd

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// compress compresses an answer with an encoding that the client accepts. Callers compute x-amz-crc32 afterwards: it covers the
// compressed bytes.
func compress(c *fasthttp.RequestCtx, body []byte) []byte {
	accept := c.Request.Header.Peek("Accept-Encoding")
	switch {
	case bytes.Contains(accept, []byte("gzip")):
		c.Response.Header.SetContentEncoding("gzip")
		return fasthttp.AppendGzipBytes(nil, body)
	case bytes.Contains(accept, []byte("deflate")):
		c.Response.Header.SetContentEncoding("deflate")
		return fasthttp.AppendDeflateBytes(nil, body)
	}
	return body
}
