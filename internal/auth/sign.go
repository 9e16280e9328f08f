package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// SigningKey is what a client signs requests with.
type SigningKey struct{ AccessKey, Secret, Region, Service string }

// Sign adds SigV4's date and signature to the headers of a POST, whose names are in lower case; host must be among them. All of
// them are signed ("Create a signed AWS API request").
func Sign(headers map[string]string, path string, body []byte, key SigningKey, at time.Time) {
	headers["x-amz-date"] = at.UTC().Format(timeFormat)
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names)
	sig := &signature{
		accessKey: key.AccessKey, date: headers["x-amz-date"][:8], region: key.Region, service: key.Service,
		time: headers["x-amz-date"], signedHeaders: strings.Join(names, ";"),
	}
	r := &Request{Method: "POST", Path: path, Body: body, Header: func(name string) string { return headers[name] }}
	headers["authorization"] = algorithm + " Credential=" + key.AccessKey + "/" + sig.scopeText() +
		", SignedHeaders=" + sig.signedHeaders + ", Signature=" + sig.sign(r, deriveKey(key.Secret, sig))
}

// scopeText is the credential scope.
func (sig *signature) scopeText() string {
	return sig.date + "/" + sig.region + "/" + sig.service + "/aws4_request"
}

// sign returns the signature of a request by a derived key.
func (sig *signature) sign(r *Request, key []byte) string {
	canonical := sha256.Sum256([]byte(canonicalRequest(r, sig)))
	return hex.EncodeToString(mac(key, algorithm+"\n"+sig.time+"\n"+sig.scopeText()+"\n"+hex.EncodeToString(canonical[:])))
}

// deriveKey returns the key that signs for a day, region and service.
func deriveKey(secret string, sig *signature) []byte {
	return mac(mac(mac(mac([]byte("AWS4"+secret), sig.date), sig.region), sig.service), "aws4_request")
}
