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
	service := signedFor(c)
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

// maxSigningName is the longest signing name in bytes that elsewhere answers to; AWS's longest has about half of that.
const maxSigningName = 64

// signedFor returns the service in the credential scope of a request's signature, or "" for a request without one.
func signedFor(c *fasthttp.RequestCtx) string {
	credential := ""
	if header := wirejson.View(c.Request.Header.Peek("Authorization")); header != "" {
		_, credential, _ = strings.Cut(header, "Credential=")
		credential, _, _ = strings.Cut(credential, ",")
	} else if len(c.URI().QueryString()) > 0 {
		credential = string(c.QueryArgs().Peek("X-Amz-Credential"))
	}
	parts := strings.Split(credential, "/") // key/date/region/service/aws4_request, where the key may hold slashes
	if len(parts) < 5 {
		return ""
	}
	service := parts[len(parts)-2]
	if len(service) > maxSigningName || strings.ContainsFunc(service, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	}) {
		return ""
	}
	return service
}
