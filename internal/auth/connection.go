package auth

import (
	"strings"
	"time"

	"github.com/statordb/stator/internal/awserr"
)

// daxHosts are the hosts that DAX clients sign, regardless of the server that they connect to.
var daxHosts = [...]string{"dax.amazonaws.com", "https://dax.amazonaws.com"}

const (
	// daxHeaders are the headers that DAX clients sign.
	daxHeaders = "host;x-amz-date"
	// daxService is the service in their credential scope.
	daxService = "dax"
)

// AuthenticateConnection returns which key has opened a DAX connection, given the session's token, if any, the signature and the signed
// text, and until when that is valid: for ever without credentials. The key may be removed earlier: see Renew.
func (a *Authenticator) AuthenticateConnection(accessKey, token, given, stringToSign string) (id Identity, until time.Time, _ *awserr.Error) {
	lines := strings.SplitN(stringToSign, "\n", 5)
	if len(lines) != 4 || lines[0] != algorithm {
		return id, until, awserr.New(awserr.IncompleteSignature, "The signed text must have four lines, the first of them "+algorithm+".")
	}
	sig := &signature{time: lines[1], signature: given, signedHeaders: daxHeaders}
	if err := sig.scope(accessKey + "/" + lines[2]); err != nil {
		return id, until, err
	}
	if sig.accessKey != accessKey { // the access key contained a slash
		return id, until, awserr.New(awserr.IncompleteSignature, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '"+accessKey+"/"+lines[2]+"'")
	}
	h, err := a.find(a.ring.Load(), accessKey, token)
	if err != nil {
		return id, until, err
	}
	h.identity.Region = sig.region
	if h.secret == "" {
		return h.identity, until, nil
	}
	at, err := sig.checkTimes(a.Now().UTC())
	if err != nil {
		return id, until, err
	}
	if err := sig.checkScope(daxService, h.regions, ""); err != nil {
		return id, until, err
	}
	key, cached := h.key(sig)
	for _, host := range daxHosts {
		if equal(sig.sign("POST", "/", "", fields{{"host", host}, {"x-amz-date", sig.time}}, nil, key), given) {
			if !cached {
				h.derived.put(sig, key)
			}
			if h.identity.Identity != nil {
				a.Issuer.Used(accessKey, sig.service, sig.region)
			}
			return h.identity, at.Add(maxSkew), nil
		}
	}
	return id, until, mismatch()
}
