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

// Web says which web pages may use a server that verifies no signatures, and to which names the server answers. The zero
// value lets in pages that come from loopback, and answers to names that no page can make its own.
type Web struct {
	origins []string // as browsers write them
	any     bool     // any origin but null
	hosts   []string // names in lower case; one that begins with a dot stands for all names below it
}

// ParseWeb returns the Web that lets in pages of the origins too, and answers to the hosts too. An origin is written as
// browsers do (https://app.example:8443), or is * for all that have a name, or null for pages that have none: sandboxed frames
// and files. A host is a name without a port, or a suffix that begins with a dot (.example).
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

// webGuard keeps web pages that the developer doesn't know away from a server that takes any access key. They can reach it
// because the browser runs on the same machine or network. Where signatures are verified they lack a key, and CORS is as
// AWS's endpoints have it: any origin.
type webGuard struct {
	Web
	open  bool                   // no signature is verified
	known atomic.Pointer[string] // the first host that was let in: most requests are for it
}

// Handler keeps what a webGuard keeps away from another handler, which verifies no signatures either.
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

// stranger answers a request that the guard refuses, and reports whether it does.
func (s *Server) stranger(c *fasthttp.RequestCtx) bool {
	err := s.web.check(c)
	if err == nil {
		return false
	}
	s.fail(c, err, fasthttp.StatusForbidden)
	if c.IsGet() {
		c.SetContentType("application/json") // which browsers show
	}
	return true
}

// check returns why the request is refused; nil if it isn't.
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

// checkHost refuses names that an attacker's DNS server may have pointed here (DNS rebinding): for the browser, such a page and
// this server are one origin. The target's authority counts as well as the header. Browsers always send a Host header, so that
// load balancers that speak HTTP/1.0 may leave it out.
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

// checkPage refuses requests of web pages that aren't on loopback or of --cors-origin. Browsers send Origin with each request
// that is a POST or whose answer the page wants to read, and Sec-Fetch-Site to loopback with all others ("Fetch Metadata
// Request Headers"). Where both are there Origin decides: from http://localhost to 127.0.0.1 the site is another.
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

// checkOrigin refuses a request by the number of its Origin headers, the last of them, and its Sec-Fetch-Site.
func (w *Web) checkOrigin(origins int, origin, site string) *awserr.Error {
	switch {
	case origins > 1:
		return awserr.New(awserr.AccessDenied, "A request has one Origin header at most.")
	case origins == 1 && !w.allows(origin):
		return awserr.New(awserr.AccessDenied, fmt.Sprintf("Where no signature is verified, web pages of the origin %q may use a server only if it is started with --cors-origin %s", shorten(origin), shorten(origin)))
	case origins == 0 && site != "" && !w.any && site != "none" && site != "same-origin":
		return awserr.New(awserr.AccessDenied, "Where no signature is verified, web pages of other sites may use a server only if their origin is one of --cors-origin and they ask by CORS. To see this page, enter its address.")
	}
	return nil
}

// checkForm refuses what a page's form can send: a body of one of three types, without an Authorization header. Such a request
// would run an operation of AWS's Query protocol if its query string had a signature. Options.Control is not meant, since curl's
// -d sends a form.
func checkForm(c *fasthttp.RequestCtx) *awserr.Error {
	if !c.IsPost() || !isForm(c.Request.Header.ContentType()) || len(c.Request.Header.Peek("Authorization")) > 0 ||
		bytes.HasPrefix(c.Path(), []byte(controlPrefix)) {
		return nil
	}
	return awserr.New(awserr.AccessDenied, "A form of any web page can send this request. Where no signature is verified, it needs an Authorization header, which a form can't send.")
}

// controlPrefix is how the paths of Options.Control begin.
const controlPrefix = "/_stator/"

// isForm reports whether the content type is one of those that a form, or a page that doesn't ask by CORS, can send.
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

// wrongHost is the error for a host that the server doesn't answer to.
func wrongHost(host string) *awserr.Error {
	name, _, ok := splitHost(host)
	if !ok {
		return awserr.New(awserr.AccessDenied, fmt.Sprintf("The request is for %q, which is neither a name nor an address.", shorten(host)))
	}
	return awserr.New(awserr.AccessDenied, fmt.Sprintf("The request is for the host %q. Where no signature is verified, a server answers only to names that no web page can make its own, and to those of --allow-host. If this is its name, start it with --allow-host %s",
		shorten(name), shorten(name)))
}

// shorten returns as much of a header as an error shows.
func shorten(s string) string {
	const longest = 255 // of names
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

// isLocalhost reports whether browsers look the name up nowhere but take it for loopback ("Let 'localhost' be localhost").
func isLocalhost(name string) bool {
	return strings.EqualFold(name, "localhost") || below(name, ".localhost")
}

// answersTo reports whether the server answers requests for the host, as the Host header has it: to addresses, to names that no
// DNS server of an attacker answers for, and to those that it was told of.
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

// below reports whether the name ends with the suffix, which begins with a dot, and has something before it.
func below(name, suffix string) bool {
	return len(name) > len(suffix) && strings.EqualFold(name[len(name)-len(suffix):], suffix)
}

// splitHost takes HOST or HOST:PORT apart: it returns the address that it is, or else the name without the dot that may end it.
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

// isName reports whether the string is made of labels of letters, digits, - and _.
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

// preflight answers a browser that asks whether a page may send a request. The page may send what it likes: check has let its
// origin in.
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
	if v := c.Request.Header.Peek("Access-Control-Request-Headers"); len(v) > 0 {
		h.SetBytesV("Access-Control-Allow-Headers", v)
	}
	if v := c.Request.Header.Peek("Access-Control-Request-Method"); len(v) > 0 {
		h.SetBytesV("Access-Control-Allow-Methods", v)
	}
	h.Set("Access-Control-Max-Age", "172800")
}

// answer lets a page of another origin see the answer, if it may.
func (g *webGuard) answer(c *fasthttp.RequestCtx) {
	if g.allowOrigin(c) {
		c.Response.Header.Set("Access-Control-Expose-Headers", "x-amzn-RequestId,x-amz-crc32,x-amzn-errortype")
	}
}

// allowOrigin names the request's origin, if it has one that may see the answer, and reports whether it has.
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
