package httpd

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/valyala/fasthttp"
)

var errTooLarge = errors.New("decompressed body too large")

func gzipReader(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }
func zlibReader(r io.Reader) (io.ReadCloser, error) { return zlib.NewReader(r) }

// inflate decompresses at most MaxBody bytes.
func inflate(body []byte, open func(io.Reader) (io.ReadCloser, error)) ([]byte, error) {
	r, err := open(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	out, err := io.ReadAll(io.LimitReader(r, MaxBody+1))
	if err == nil && len(out) > MaxBody {
		err = errTooLarge
	}
	return out, err
}

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
