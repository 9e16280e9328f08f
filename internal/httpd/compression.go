package httpd

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// minCompress is the size in bytes from which AWS compresses an answer.
const minCompress = 4096

// compress compresses an answer with the encoding that the client prefers. Callers compute x-amz-crc32 afterwards: it covers the
// compressed bytes.
//
// AWS announces the encoding of a large error too, but sends the error as it is. Clients that ask for compression can't read such
// errors from AWS. The same happens here, so that a test finds it.
func compress(c *fasthttp.RequestCtx, body []byte, status int) []byte {
	if len(body) < minCompress {
		return body
	}
	encoding := preferred(c)
	if encoding == "" {
		return body
	}
	c.Response.Header.SetContentEncoding(encoding)
	switch {
	case status >= 400:
		return body
	case encoding == "gzip":
		return fasthttp.AppendGzipBytes(nil, body)
	}
	return fasthttp.AppendDeflateBytes(nil, body)
}

// preferred returns the encoding that the client prefers among those that AWS speaks, or "" if it accepts none. Of several
// Accept-Encoding headers, AWS reads the last one. It never prefers identity.
func preferred(c *fasthttp.RequestCtx) string {
	all := c.Request.Header.PeekAll("Accept-Encoding")
	if len(all) == 0 {
		return ""
	}
	var best, named string // named is all the names together
	var quality, anyQuality float64
	for entry := range bytes.SplitSeq(all[len(all)-1], []byte(",")) {
		name, q := acceptable(string(entry))
		switch name {
		case "gzip", "deflate":
			if !strings.Contains(named, name) {
				named += name
			}
			if q > quality {
				best, quality = name, q
			}
		case "*":
			anyQuality = q
		}
	}
	// The asterisk stands for the encodings that aren't named.
	for _, name := range [...]string{"gzip", "deflate"} {
		if !strings.Contains(named, name) && anyQuality > quality {
			best, quality = name, anyQuality
		}
	}
	return best
}

// acceptable parses an entry of Accept-Encoding, such as "gzip; q=0.5". A quality that isn't a number counts as 1, like a missing
// one, and no quality counts as more than 1.
func acceptable(entry string) (name string, quality float64) {
	name, parameters, _ := strings.Cut(entry, ";")
	for parameter := range strings.SplitSeq(parameters, ";") {
		key, value, _ := strings.Cut(parameter, "=")
		if !strings.EqualFold(strings.TrimSpace(key), "q") {
			continue
		}
		if q, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
			return strings.ToLower(strings.TrimSpace(name)), min(q, 1)
		}
		break
	}
	return strings.ToLower(strings.TrimSpace(name)), 1
}
