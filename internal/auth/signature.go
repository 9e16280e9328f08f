package auth

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/statordb/stator/internal/awserr"
)

// signature is a parsed signature.
type signature struct {
	accessKey, date, region, service string
	signedHeaders, signature         string
	time                             string
	presigned                        bool
	expires                          time.Duration
	token                            string // X-Amz-Security-Token of a presigned request
}

// parseHeader parses the Authorization header.
func parseHeader(header string, r *Request) (sig signature, _ *awserr.Error) {
	word, rest, _ := strings.Cut(header, " ")
	switch {
	case word == algorithm:
	case strings.HasPrefix(word, "AWS4-"):
		return sig, awserr.New(awserr.IncompleteSignature, "Unsupported AWS 'algorithm': '"+word+"' (only "+algorithm+" for now). ")
	default:
		return sig, awserr.New(awserr.IncompleteSignature, "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization="+word)
	}
	var credential string
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, ",")
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		var into *string
		switch k {
		case "Credential":
			into = &credential
		case "SignedHeaders":
			into = &sig.signedHeaders
		case "Signature":
			into = &sig.signature
		default:
			continue
		}
		if *into != "" {
			return sig, awserr.New(awserr.IncompleteSignature, "Authorization header has the '"+k+"' parameter more than once. Authorization="+word)
		}
		*into = v
	}
	sig.time = r.Header("x-amz-date")
	if sig.time == "" {
		if t, err := time.Parse(time.RFC1123, r.Header("date")); err == nil { // X-Amz-Date takes precedence
			sig.time = t.UTC().Format(timeFormat)
		}
	}
	if credential == "" || sig.signature == "" || sig.signedHeaders == "" || sig.time == "" {
		return sig, incomplete(credential, &sig, word)
	}
	return sig, sig.scope(credential)
}

// incomplete is AWS's sentence for missing parts of a signature.
func incomplete(credential string, sig *signature, word string) *awserr.Error {
	var missing []string
	for _, p := range []struct{ name, value string }{{"Credential", credential}, {"Signature", sig.signature}, {"SignedHeaders", sig.signedHeaders}} {
		if p.value == "" {
			missing = append(missing, "Authorization header requires '"+p.name+"' parameter.")
		}
	}
	if sig.time == "" {
		missing = append(missing, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	return awserr.New(awserr.IncompleteSignature, strings.Join(missing, " ")+" Authorization="+word)
}

// parseQuery parses the signature of a presigned request.
func parseQuery(r *Request) (sig signature, _ *awserr.Error) {
	q, err := url.ParseQuery(r.Query)
	if err != nil {
		return sig, awserr.New(awserr.IncompleteSignature, "AWS query-string parameters must be properly encoded")
	}
	var missing []string
	for name, values := range q {
		if len(values) > 1 && strings.HasPrefix(strings.ToLower(name), "x-amz-") { // which of the values was signed would be ambiguous
			return sig, awserr.New(awserr.IncompleteSignature, "AWS query-string parameters must not be repeated: '"+name+"'. Re-examine the query-string parameters.")
		}
	}
	get := func(name string) string {
		v := q.Get(name)
		if v == "" {
			missing = append(missing, "AWS query-string parameters must include '"+name+"'. ")
		}
		return v
	}
	sig.presigned = true
	if q.Get("X-Amz-Algorithm") != algorithm {
		missing = append(missing, "AWS query-string parameters must include 'X-Amz-Algorithm'. ")
	}
	credential := get("X-Amz-Credential")
	sig.signature = get("X-Amz-Signature")
	sig.signedHeaders = get("X-Amz-SignedHeaders")
	sig.time = get("X-Amz-Date")
	sig.token = q.Get("X-Amz-Security-Token")
	if missing != nil {
		return sig, awserr.New(awserr.IncompleteSignature, strings.Join(missing, "")+"Re-examine the query-string parameters.")
	}
	sig.expires = maxSkew
	if v := q.Get("X-Amz-Expires"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > int(maxExpires/time.Second) {
			return sig, awserr.New(awserr.IncompleteSignature, "X-Amz-Expires must be a number of seconds between 0 and 604800")
		}
		sig.expires = time.Duration(n) * time.Second
	}
	return sig, sig.scope(credential)
}

// scope splits a credential into access key, date, region, service and "aws4_request". Regions become part of storage keys, so their form
// is always checked.
func (sig *signature) scope(credential string) *awserr.Error {
	rest, end, parts := credential, "", 1
	for _, into := range [...]*string{&end, &sig.service, &sig.region, &sig.date} {
		if at := strings.LastIndexByte(rest, '/'); at >= 0 {
			rest, *into = rest[:at], rest[at+1:]
			parts++
		}
	}
	if sig.accessKey = rest; parts != 5 || rest == "" {
		return awserr.New(awserr.IncompleteSignature, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '"+credential+"'")
	}
	switch {
	case !regionForm(sig.region):
		return awserr.New(awserr.InvalidSignature, "Credential should be scoped to a valid region, not '"+sig.region+"'. ")
	case end != terminator:
		return awserr.New(awserr.InvalidSignature, "Credential should be scoped with a valid terminator: '"+terminator+"', not '"+end+"'. ")
	}
	return nil
}

// maxRegion is the longest region in characters. AWS's have up to 14; any other name is a namespace of its own.
const maxRegion = 64

// regionForm reports whether a text has the form of a region: letters, digits, hyphens and underscores.
func regionForm(text string) bool {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return text != "" && len(text) <= maxRegion
}

// checkTimes checks the signature's time and the scope's date. It returns the time.
func (sig *signature) checkTimes(now time.Time) (time.Time, *awserr.Error) {
	t, err := time.Parse(timeFormat, sig.time)
	if err != nil {
		return t, awserr.New(awserr.IncompleteSignature, "Date must be in ISO-8601 'basic format'. Got '"+sig.time+"'. See http://en.wikipedia.org/wiki/ISO_8601")
	}
	if err := checkTime(t, now, sig); err != nil {
		return t, err
	}
	if sig.time[:8] != sig.date {
		return t, awserr.New(awserr.InvalidSignature, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '"+sig.date+"' != '"+sig.time[:8]+"', from '"+sig.time+"'.")
	}
	return t, nil
}

// checkTime fails if the signature has expired or is not yet valid.
func checkTime(t, now time.Time, sig *signature) *awserr.Error {
	validFor := maxSkew
	if sig.presigned {
		validFor = sig.expires
	}
	switch {
	case t.Add(validFor).Before(now):
		limit := now.Add(-validFor)
		return awserr.New(awserr.InvalidSignature, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %d min.)",
			t.Format(timeFormat), limit.Format(timeFormat), now.Format(timeFormat), int(validFor.Minutes())))
	case t.After(now.Add(maxSkew)):
		limit := now.Add(maxSkew)
		return awserr.New(awserr.InvalidSignature, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + %d min.)",
			t.Format(timeFormat), limit.Format(timeFormat), now.Format(timeFormat), int(maxSkew.Minutes())))
	}
	return nil
}
