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

// AuthenticateConnection returns which key has opened a DAX connection, given the signature and the signed text, and until when that is
// valid: for ever without credentials. The key may be removed earlier: see Known.
func (a *Authenticator) AuthenticateConnection(accessKey, given, stringToSign string) (id Identity, until time.Time, _ *awserr.Error) {
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
	ring := a.ring.Load()
	if ring == nil {
		return Identity{AccessKey: accessKey, Account: DefaultAccount, Region: sig.region, Operator: true}, until, nil
	}
	c, known := ring.credentials[accessKey]
	if !known {
		return id, until, unrecognized()
	}
	at, err := sig.checkTimes(a.Now().UTC())
	if err != nil {
		return id, until, err
	}
	if err := sig.checkScope(daxService, c.Regions, ""); err != nil {
		return id, until, err
	}
	key, cached := ring.keys.get(sig)
	if !cached {
		key = deriveKey(c.SecretAccessKey, sig)
	}
	for _, host := range daxHosts {
		if equal(sig.sign("POST", "/", "", fields{{"host", host}, {"x-amz-date", sig.time}}, nil, key), given) {
			if !cached {
				ring.keys.put(sig, key)
			}
			return c.identity(sig), at.Add(maxSkew), nil
		}
	}
	return id, until, mismatch()
}
