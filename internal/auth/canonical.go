package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/awserr"
)

// maxHeaders bounds the headers of a request whose signature is verified.
const maxHeaders = 200

// field is a header.
type field struct{ name, value string }

// fields are headers sorted by name. Headers of the same name keep their order.
type fields []field

// headers returns the request's headers, at most one more than maxHeaders.
func (r *Request) headers() fields {
	out := make(fields, 0, 16)
	r.Headers(func(name, value string) bool {
		out = append(out, field{strings.ToLower(name), value})
		return len(out) <= maxHeaders
	})
	slices.SortStableFunc(out, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return out
}

// named returns the headers with a name.
func (f fields) named(name string) fields {
	from, _ := slices.BinarySearchFunc(f, name, func(h field, name string) int { return strings.Compare(h.name, name) })
	to := from
	for to < len(f) && f[to].name == name {
		to++
	}
	return f[from:to]
}

// value returns the first value of a name, or "".
func (f fields) value(name string) string {
	if found := f.named(name); len(found) > 0 {
		return found[0].value
	}
	return ""
}

// checkHeaders checks that the host and all x-amz-* headers are signed, and that none of them, nor Authorization, is repeated: the
// signature would not say which of the two values is meant ("Create a signed AWS API request").
func (sig *signature) checkHeaders(headers fields) *awserr.Error {
	signed := strings.Split(sig.signedHeaders, ";")
	// Ascending order excludes repetitions, so the work is bounded by the length of the headers.
	for i, name := range signed {
		if name == "" || name != strings.ToLower(name) || i > 0 && signed[i-1] >= name {
			return mismatch()
		}
	}
	covers := func(name string) bool {
		_, found := slices.BinarySearch(signed, name)
		return found
	}
	if !covers("host") && !covers(":authority") {
		return awserr.New(awserr.InvalidSignature, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for i, h := range headers {
		ours := strings.HasPrefix(h.name, "x-amz-")
		if !ours && h.name != "host" && h.name != "authorization" {
			continue
		}
		if i > 0 && headers[i-1].name == h.name {
			return awserr.New(awserr.InvalidSignature, "The request has the header '"+h.name+"' more than once.")
		}
		if ours && !covers(h.name) {
			return awserr.New(awserr.InvalidSignature, "'"+h.name+"' must be a 'SignedHeader' in the AWS Authorization.")
		}
	}
	return nil
}

// checkPayload reports whether the body matches x-amz-content-sha256, if that header is present. Unsigned and chunked payloads exist in
// Amazon S3 only.
func checkPayload(headers fields, body []byte) bool {
	given := headers.named("x-amz-content-sha256")
	return len(given) == 0 || given[0].value == payloadHash(body)
}

// payloadHash returns the SHA-256 hash of a body in hex.
func payloadHash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// canonicalRequest returns the text that is signed.
func (sig *signature) canonicalRequest(method, path, query string, headers fields, body []byte) string {
	var b strings.Builder
	b.WriteString(method + "\n" + canonicalPath(path) + "\n" + canonicalQuery(query, sig.presigned) + "\n")
	for _, name := range strings.Split(sig.signedHeaders, ";") {
		b.WriteString(name + ":")
		if name == ":authority" {
			name = "host"
		}
		for i, h := range headers.named(name) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strings.Join(strings.Fields(h.value), " "))
		}
		b.WriteByte('\n')
	}
	b.WriteString("\n" + sig.signedHeaders + "\n" + payloadHash(body))
	return b.String()
}

// canonicalPath removes empty, "." and ".." segments of a path, and encodes it, which encodes an encoded path once more.
func canonicalPath(path string) string {
	if path == "" || path == "/" {
		return "/"
	}
	var parts []string
	for _, part := range strings.Split(path, "/") {
		switch part {
		case "", ".":
		case "..":
			parts = parts[:max(0, len(parts)-1)]
		default:
			parts = append(parts, encode(part))
		}
	}
	if len(parts) == 0 {
		return "/"
	}
	out := "/" + strings.Join(parts, "/")
	if strings.HasSuffix(path, "/") {
		out += "/"
	}
	return out
}

// canonicalQuery encodes a query string and sorts it by name and value. For a presigned request it leaves out the signature.
func canonicalQuery(query string, presigned bool) string {
	if query == "" {
		return ""
	}
	var pairs [][2]string
	for _, part := range strings.Split(query, "&") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		name, value := reencode(k), reencode(v)
		if presigned && name == "X-Amz-Signature" {
			continue
		}
		pairs = append(pairs, [2]string{name, value})
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p[0] + "=" + p[1])
	}
	return b.String()
}

// reencode brings a part of a query string into the canonical encoding.
func reencode(s string) string {
	plain, err := url.QueryUnescape(s)
	if err != nil {
		return encode(s)
	}
	return encode(plain)
}

// encode is RFC 3986 percent-encoding: it encodes everything except letters, digits and -._~.
func encode(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
