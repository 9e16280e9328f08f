package auth

import (
	"crypto/subtle"
	"regexp"
	"strings"
	"time"

	"github.com/statordb/stator/internal/awserr"
)

// daxHosts are what DAX clients sign as the host, whatever they connect to.
var daxHosts = [...]string{"dax.amazonaws.com", "https://dax.amazonaws.com"}

// daxHeaders are the headers that they sign.
const daxHeaders = "host;x-amz-date"

var regionPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// AuthenticateConnection returns who has opened a connection of the DAX protocol, by the signature that he sends on it and the
// text that it signs, and until when that counts. Where no credentials are configured that is for ever.
func (a *Authenticator) AuthenticateConnection(accessKey, given, stringToSign string) (id Identity, until time.Time, _ *awserr.Error) {
	id = Identity{AccessKey: accessKey, Account: DefaultAccount}
	lines := strings.Split(stringToSign, "\n")
	if len(lines) != 4 || lines[0] != algorithm {
		return id, until, awserr.New(awserr.IncompleteSignature, "The text that is signed must have four lines, and "+algorithm+" as its first.")
	}
	sig := &signature{time: lines[1], signature: given, signedHeaders: daxHeaders}
	if err := sig.scope(accessKey + "/" + lines[2]); err != nil {
		return id, until, err
	}
	if !regionPattern.MatchString(sig.region) { // nothing of HTTP has looked at it
		return id, until, awserr.New(awserr.IncompleteSignature, "The credential scope has no region.")
	}
	id.Region = sig.region
	if a.credentials == nil {
		return id, until, nil
	}
	if sig.service != "dax" {
		return id, until, awserr.New(awserr.InvalidSignature, "Credential should be scoped to correct service: 'dax'.")
	}
	c, known := a.credentials[accessKey]
	if !known {
		return id, until, awserr.New(awserr.UnrecognizedClient, "The security token included in the request is invalid.")
	}
	id.Account = c.Account
	at, err := sig.checkTimes(a.Now().UTC())
	if err != nil {
		return id, until, err
	}
	key := a.signingKey(c.SecretAccessKey, sig)
	for _, host := range daxHosts {
		want := sig.sign(&Request{Method: "POST", Path: "/", Header: func(name string) string {
			if name == "host" {
				return host
			}
			if name == "x-amz-date" {
				return sig.time
			}
			return ""
		}}, key)
		if subtle.ConstantTimeCompare([]byte(want), []byte(given)) == 1 {
			return id, at.Add(maxSkew), nil
		}
	}
	return id, until, mismatch()
}
