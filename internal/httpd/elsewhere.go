package httpd

import (
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// elsewhere answers a request for a service that this endpoint lacks, and reports whether the request was one. A client whose AWS_ENDPOINT_URL
// names this server sends it the requests for all services: each service's SDK must be able to read the answer. The credential scope of the
// signature names the service; the signature itself does not matter, since nothing is done.
func (s *Server) elsewhere(c *fasthttp.RequestCtx) bool {
	service := claimedBy(c).service
	if service == "" || slices.Contains(s.signingNames, service) {
		return false
	}
	var id [52]byte
	request := string(smithy.AppendRequestID(id[:0]))
	h := &c.Request.Header
	form := strings.HasPrefix(string(h.ContentType()), "application/x-www-form-urlencoded")
	a := protocol.Elsewhere(service, strings.Join(s.signingNames, ", "), form, request)
	c.SetStatusCode(a.Status)
	c.Response.Header.SetContentType(a.ContentType)
	c.Response.Header.SetCanonical(headerRequestID, []byte(request))
	for _, field := range a.Header {
		c.Response.Header.Set(field[0], field[1])
	}
	s.web.answer(c)
	c.Response.SetBody(a.Body)
	if stream := c.RequestBodyStream(); stream != nil {
		_ = s.refuseBody(c, stream, nil)
	}
	return true
}

// maxClaim bounds each text of a claim in bytes; an access key id has up to 128.
const maxClaim = 128

// claim is what the credential of a signature says, verified or not.
type claim struct{ key, region, service string }

// claimedBy returns what a request's signature claims; nothing for a request without one. The texts have a bounded length and no special
// characters.
func claimedBy(c *fasthttp.RequestCtx) claim {
	credential := ""
	if header := wirejson.View(c.Request.Header.Peek("Authorization")); header != "" {
		_, credential, _ = strings.Cut(header, "Credential=")
		credential, _, _ = strings.Cut(credential, ",")
	} else if len(c.URI().QueryString()) > 0 {
		credential = string(c.QueryArgs().Peek("X-Amz-Credential"))
	}
	parts := strings.Split(credential, "/") // key/date/region/service/aws4_request, where the key may hold slashes
	n := len(parts)
	if n < 5 {
		return claim{}
	}
	plain := func(text string) bool {
		return len(text) <= maxClaim && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
	}
	found := claim{strings.Join(parts[:n-4], "/"), parts[n-3], parts[n-2]}
	if !plain(found.key) || !plain(found.region) || !plain(found.service) {
		return claim{}
	}
	return found
}
