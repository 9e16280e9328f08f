package httpd

import (
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// route says which operation a request is for, and in which protocol it came.
type route struct {
	target    string            // as in X-Amz-Target, in every protocol
	operation *smithy.Handler   // nil if no operation has that target
	codec     protocol.Codec    // nil for DynamoDB's own JSON
	form      bool              // the body names the operation, in AWS's Query protocol
	query     *protocol.Service // to which a form belongs
	nowhere   bool              // no API has anything at the path
	service   string            // the service name that the signature must be scoped to
}

// route finds the operation and the protocol of a request.
func (s *Server) route(c *fasthttp.RequestCtx) route {
	h := &c.Request.Header
	if string(c.Path()) != "/" {
		if string(h.Peek("smithy-protocol")) == "rpc-v2-cbor" && len(h.Peek("X-Amz-Target")) == 0 {
			return s.routeCBOR(string(c.Path()))
		}
		return route{nowhere: true}
	}
	if target := wirejson.View(h.Peek("X-Amz-Target")); target != "" {
		to := route{target: target, operation: s.operations[target]}
		if to.operation != nil && to.operation.Service == "" {
			to.service = "dynamodb"
			return to
		}
		// The target may belong to another API, or to no operation: the answer's protocol is that of the API in its prefix.
		name, _, _ := strings.Cut(target, ".")
		if service := s.services[name]; service != nil {
			to.codec, to.service = protocol.JSON{Service: service}, service.SigningName
		}
		return to
	}
	// Forms are accepted at the root only. The signature covers the path but need not cover the two headers that tell CBOR from a
	// form, so a path must not be valid in both protocols.
	if strings.HasPrefix(string(h.ContentType()), "application/x-www-form-urlencoded") {
		service := s.queries[claimedBy(c).service]
		if service == nil {
			service = s.unclaimed
		}
		if service != nil {
			return route{form: true, query: service, codec: protocol.Query{Service: service}, service: service.SigningName}
		}
	}
	return route{}
}

// routeCBOR routes a path of RPC v2, /service/NAME/operation/OPERATION.
func (s *Server) routeCBOR(path string) route {
	parts := strings.Split(path, "/")
	if len(parts) < 4 || parts[len(parts)-4] != "service" || parts[len(parts)-2] != "operation" {
		return route{}
	}
	name, operation := parts[len(parts)-3], parts[len(parts)-1]
	to := route{target: name + "." + operation}
	if service := s.services[name]; service != nil && service.Schema != nil {
		to.operation, to.service = s.operations[to.target], service.SigningName
		to.codec = protocol.CBOR{Service: service, Operation: operation}
	}
	return to
}

// routeForm routes a form by the Action and Version in its body. It returns false if no operation matches.
func (s *Server) routeForm(to *route, body []byte) bool {
	action, version := protocol.Action(body)
	if version != to.query.Version {
		return false
	}
	to.target = to.query.Name + "." + action
	to.operation = s.operations[to.target]
	to.codec = protocol.Query{Service: to.query, Operation: action}
	return to.operation != nil
}
