package httpd

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/wirejson"
)

// Web says which web pages may use a server that verifies no signatures, and to which host names the server answers. The zero
// value admits pages from loopback, and answers to addresses and to names that no web page can claim for itself.
type Web struct {
	origins []string // in the form that browsers send
	any     bool     // any origin except null
	hosts   []string // lower-case names; a leading dot stands for all names below
}

// ParseWeb returns a Web that, beyond its zero value, admits pages of the origins and answers to the hosts. An origin is written as
// browsers do (https://app.example:8443), or is * for every origin with a name, or null for pages without one: sandboxed frames
// and files. A host is a name without a port, or a suffix with a leading dot (.example).
func ParseWeb(origins, hosts []string) (Web, error) {
	var w Web
	for _, origin := range origins {
		if origin == "*" {
			w.any = true
			continue
		}
		parsed, err := parseOrigin(origin)
		if err != nil {
			return Web{}, err
		}
		w.origins = append(w.origins, parsed)
	}
	for _, host := range hosts {
		name := strings.TrimSuffix(strings.ToLower(host), ".")
		if labels := strings.TrimPrefix(name, "."); !isName(labels) {
			return Web{}, fmt.Errorf("%q is not a host to answer to: it must be a name without a port, such as db.example, or a suffix such as .example", host)
		}
		w.hosts = append(w.hosts, name)
	}
	return w, nil
}

// parseOrigin returns an origin in the form that browsers send: lower case, without a default port.
// parseOrigin returns an origin as browsers write it.
func parseOrigin(origin string) (string, error) {
	if origin == "null" {
		return origin, nil
	}
	u, err := url.Parse(strings.ToLower(origin))
	if err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != strings.ToLower(origin) {
		return "", fmt.Errorf("%q is not an origin: it must be written as browsers do, such as https://app.example:8443 without a path, or be * or null", origin)
	}
	if _, _, ok := splitHost(u.Host); !ok {
		return "", fmt.Errorf("%q is not an origin: its host must be a name in ASCII or an IP address", origin)
	}
	defaultPort := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	return u.Scheme + "://" + strings.TrimSuffix(u.Host, defaultPort), nil
}

// webGuard protects a server that accepts any access key from web pages that its developer doesn't know. Such pages can reach the
// server because the browser runs on the same machine or network. A server that verifies signatures needs no guard: pages lack a
// key, and CORS is as on AWS's endpoints, open to any origin.
type webGuard struct {
	Web
	open  bool                   // the server verifies no signatures: the guard is active
	known atomic.Pointer[string] // the first host admitted: a shortcut, since most requests name it
}

// Handler applies the guard's rules to another handler that verifies no signatures, such as the profiler's.
func (w Web) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var err *awserr.Error
		if r.Host != "" && !w.answersTo(r.Host) {
			err = wrongHost(r.Host)
		} else {
			err = w.checkOrigin(len(r.Header.Values("Origin")), r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site"))
		}
		if err != nil {
			http.Error(rw, err.Message, http.StatusForbidden)
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// stranger answers a request that the guard refuses, and reports whether it did.
func (s *Server) stranger(c *fasthttp.RequestCtx) bool {
	err := s.web.check(c)
	if err == nil {
		return false
	}
	s.fail(c, err, fasthttp.StatusForbidden)
	if c.IsGet() { // browsers display this type
		c.SetContentType("application/json")
	}
	return true
}

// check returns why the request is refused, or nil.
func (g *webGuard) check(c *fasthttp.RequestCtx) *awserr.Error {
	if !g.open {
		return nil
	}
	if err := g.checkHost(c); err != nil {
		return err
	}
	if err := g.checkPage(c); err != nil {
		return err
	}
	return checkForm(c)
}

// checkHost refuses host names that an attacker's DNS server may have pointed here (DNS rebinding): to the browser, a page under
// such a name and this server share an origin. Both the Host header and the authority of an absolute target count. A request with
// neither is admitted: browsers always send a Host header, and load balancers that speak HTTP/1.0 may not.
func (g *webGuard) checkHost(c *fasthttp.RequestCtx) *awserr.Error {
	header, target := c.Request.Header.Host(), c.URI().Host()
	if known := g.known.Load(); known != nil && string(header) == *known && bytes.Equal(header, target) {
		return nil
	}
	if len(header) == 0 && len(target) == 0 {
		return nil
	}
	for _, host := range [...][]byte{header, target} {
		if len(host) == 0 && len(header) == 0 {
			continue
		}
		if !g.answersTo(wirejson.View(host)) {
			return wrongHost(wirejson.View(host))
		}
	}
	if g.known.Load() == nil {
		known := string(header)
		g.known.Store(&known)
	}
	return nil
}

// checkPage refuses web pages that are neither on loopback nor of --cors-origin. Browsers send Origin with each POST and with each
// request whose answer the page wants to read, and Sec-Fetch-Site with all others to loopback ("Fetch Metadata Request Headers").
// Origin wins where both are present: a page on http://localhost that asks 127.0.0.1 is cross-site.
func (g *webGuard) checkPage(c *fasthttp.RequestCtx) *awserr.Error {
	var origin, site []byte
	origins := 0
	for key, value := range c.Request.Header.All() {
		switch {
		case len(key) == len("Origin") && string(key) == "Origin":
			origin = value
			origins++
		case len(key) == len("Sec-Fetch-Site") && string(key) == "Sec-Fetch-Site" && site == nil:
			site = value
		}
	}
	return g.checkOrigin(origins, wirejson.View(origin), wirejson.View(site))
}

// checkOrigin decides by the number of Origin headers, the last of them, and Sec-Fetch-Site.
func (w *Web) checkOrigin(origins int, origin, site string) *awserr.Error {
	switch {
	case origins > 1:
		return awserr.New(awserr.AccessDenied, "A request must have at most one Origin header.")
	case origins == 1 && !w.allows(origin):
		return awserr.New(awserr.AccessDenied, fmt.Sprintf("This server verifies no signatures. Web pages of the origin %q may use it only if it is started with --cors-origin %s", shorten(origin), shorten(origin)))
	case origins == 0 && site != "" && !w.any && site != "none" && site != "same-origin":
		return awserr.New(awserr.AccessDenied, "This server verifies no signatures. It serves web pages of other sites only if they use CORS and --cors-origin lists their origin. To see this page, enter its address.")
	}
	return nil
}

// checkForm refuses what an HTML form can send without CORS: a POST with one of three content types and no Authorization header.
// With a signature in the query string, such a request would run an operation of AWS's Query protocol. Paths of Options.Control
// are exempt, because curl's -d sends a form.
func checkForm(c *fasthttp.RequestCtx) *awserr.Error {
	if !c.IsPost() || !isForm(c.Request.Header.ContentType()) || len(c.Request.Header.Peek("Authorization")) > 0 ||
		bytes.HasPrefix(c.Path(), []byte(controlPrefix)) {
		return nil
	}
	return awserr.New(awserr.AccessDenied, "A form on any web page can send this request. This server verifies no signatures, so the request needs an Authorization header, which a form can't send.")
}

// controlPrefix begins all paths of Options.Control.
const controlPrefix = "/_stator/"

// isForm reports whether a form, or a page without CORS, can send the content type.
func isForm(contentType []byte) bool {
	kind, _, _ := bytes.Cut(contentType, []byte(";"))
	kind = bytes.TrimSpace(kind)
	for _, form := range [...]string{"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"} {
		if len(kind) == len(form) && strings.EqualFold(wirejson.View(kind), form) {
			return true
		}
	}
	return false
}

// wrongHost is the error for a host that the server doesn't answer to. It names the flag that would allow the host.
func wrongHost(host string) *awserr.Error {
	name, _, ok := splitHost(host)
	if !ok {
		return awserr.New(awserr.AccessDenied, fmt.Sprintf("The request is for %q, which is neither a name nor an address.", shorten(host)))
	}
	return awserr.New(awserr.AccessDenied, fmt.Sprintf("The request is for the host %q. This server verifies no signatures. It answers only to names that no web page can claim, and to those of --allow-host. If this is its name, start it with --allow-host %s",
		shorten(name), shorten(name)))
}

// shorten returns the part of a header that an error quotes.
func shorten(s string) string {
	const longest = 255 // DNS name, in bytes
	return strings.Clone(s[:min(len(s), longest)])
}

// allows reports whether pages of the origin, as a browser writes it, may use the server.
func (w *Web) allows(origin string) bool {
	return w.any && origin != "null" || isLoopback(origin) || slices.Contains(w.origins, origin)
}

// isLoopback reports whether pages of the origin come from this machine.
func isLoopback(origin string) bool {
	host, ok := strings.CutPrefix(origin, "http://")
	if !ok {
		if host, ok = strings.CutPrefix(origin, "https://"); !ok {
			return false
		}
	}
	name, addr, ok := splitHost(host)
	return ok && (addr.IsLoopback() || isLocalhost(name))
}

// isLocalhost reports whether browsers resolve the name to loopback without asking DNS ("Let 'localhost' be localhost").
func isLocalhost(name string) bool {
	return strings.EqualFold(name, "localhost") || below(name, ".localhost")
}

// answersTo reports whether the server answers requests for the host, given as in the Host header: addresses, names that an
// attacker's DNS server can't answer for, and the names of --allow-host.
func (w *Web) answersTo(host string) bool {
	name, addr, ok := splitHost(host)
	switch {
	case !ok:
		return false
	case addr.IsValid() || !strings.Contains(name, ".") || isLocalhost(name):
		return true
	case below(name, ".svc") || below(name, ".svc.cluster.local") || strings.EqualFold(name, "host.docker.internal"):
		return true
	}
	return slices.ContainsFunc(w.hosts, func(allowed string) bool {
		return strings.EqualFold(name, allowed) || allowed[0] == '.' && below(name, allowed)
	})
}

// below reports whether the name is a proper subdomain of the suffix, which begins with a dot.
func below(name, suffix string) bool {
	return len(name) > len(suffix) && strings.EqualFold(name[len(name)-len(suffix):], suffix)
}

// splitHost splits HOST or HOST:PORT. It returns the address if HOST is one, or else the name without its trailing dot.
func splitHost(host string) (name string, addr netip.Addr, ok bool) {
	if rest, bracket := strings.CutPrefix(host, "["); bracket {
		literal, port, closed := strings.Cut(rest, "]")
		literal, _, _ = strings.Cut(literal, "%") // the zone
		addr, err := netip.ParseAddr(literal)
		return "", addr, closed && err == nil && addr.Is6() && isPort(port)
	}
	if i := strings.IndexByte(host, ':'); i >= 0 {
		if !isPort(host[i:]) {
			return "", addr, false
		}
		host = host[:i]
	}
	host = strings.TrimSuffix(host, ".")
	if !isName(host) {
		return "", addr, false
	}
	if last := host[len(host)-1]; '0' <= last && last <= '9' {
		if addr, err := netip.ParseAddr(host); err == nil {
			return "", addr, true
		}
	}
	return host, addr, true
}

// isPort reports whether the string is empty, or a colon with one to five digits.
func isPort(s string) bool {
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || '9' < s[i] {
			return false
		}
	}
	return s == "" || s[0] == ':' && 1 < len(s) && len(s) <= len(":65535")
}

// isName reports whether the string consists of non-empty labels of letters, digits, - and _.
func isName(s string) bool {
	label := 0
	for i := range len(s) {
		switch b := s[i]; {
		case b == '.' && label > 0:
			label = 0
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '-', b == '_':
			label++
		default:
			return false
		}
	}
	return label > 0
}

// exposed are the headers that AWS exposes to pages. x-amz-crc32 is not among them.
const exposed = "x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date"

// preflight answers a browser's CORS preflight. It allows any method and header: check has already admitted the origin.
func (g *webGuard) preflight(c *fasthttp.RequestCtx) {
	h := &c.Response.Header
	if g.open {
		if !g.allowOrigin(c) {
			return
		}
		if private := c.Request.Header.Peek("Access-Control-Request-Private-Network"); string(private) == "true" {
			h.Set("Access-Control-Allow-Private-Network", "true")
		}
	} else {
		h.Set("Access-Control-Allow-Origin", "*")
	}
	h.Set("Access-Control-Expose-Headers", exposed)
	if v := c.Request.Header.Peek("Access-Control-Request-Headers"); len(v) > 0 {
		h.SetBytesV("Access-Control-Allow-Headers", v)
	}
	if v := c.Request.Header.Peek("Access-Control-Request-Method"); len(v) > 0 {
		h.SetBytesV("Access-Control-Allow-Methods", v)
	}
	h.Set("Access-Control-Max-Age", "172800")
}

// answer exposes the response to a page of another origin, if that origin is allowed.
func (g *webGuard) answer(c *fasthttp.RequestCtx) {
	if g.allowOrigin(c) {
		c.Response.Header.Set("Access-Control-Expose-Headers", exposed)
	}
}

// allowOrigin adds Access-Control-Allow-Origin if the request's origin may see the response, and reports whether it did.
func (g *webGuard) allowOrigin(c *fasthttp.RequestCtx) bool {
	origin := c.Request.Header.Peek("Origin")
	if len(origin) == 0 {
		return false
	}
	h := &c.Response.Header
	if !g.open {
		h.Set("Access-Control-Allow-Origin", "*")
		return true
	}
	h.Add("Vary", "Origin")
	if len(c.Request.Header.PeekAll("Origin")) > 1 || !g.allows(wirejson.View(origin)) {
		return false
	}
	h.SetBytesV("Access-Control-Allow-Origin", origin)
	return true
}
