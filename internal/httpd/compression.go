package httpd

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// compress compresses an answer as the client accepts it. The checksum in x-amz-crc32 is that of the compressed bytes.
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
