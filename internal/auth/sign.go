package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
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
	list := make(fields, len(names))
	for i, name := range names {
		list[i] = field{name, headers[name]}
	}
	headers["authorization"] = algorithm + " Credential=" + key.AccessKey + "/" + sig.scopeText() +
		", SignedHeaders=" + sig.signedHeaders + ", Signature=" + sig.sign("POST", path, "", list, body, deriveKey(key.Secret, sig))
}

// scopeText is the credential scope.
func (sig *signature) scopeText() string {
	return sig.date + "/" + sig.region + "/" + sig.service + "/" + terminator
}

// sign returns the signature of a request by a derived key.
func (sig *signature) sign(method, path, query string, headers fields, body []byte, key []byte) string {
	canonical := sha256.Sum256([]byte(sig.canonicalRequest(method, path, query, headers, body)))
	return hex.EncodeToString(mac(key, algorithm+"\n"+sig.time+"\n"+sig.scopeText()+"\n"+hex.EncodeToString(canonical[:])))
}

// deriveKey returns the key that signs for a day, region and service.
func deriveKey(secret string, sig *signature) []byte {
	return mac(mac(mac(mac([]byte("AWS4"+secret), sig.date), sig.region), sig.service), terminator)
}

func mac(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}

// maxSigningKeys bounds the memory of signing keys; there is one a day, region, service and access key.
const maxSigningKeys = 1000

// signingKeys keeps derived keys, which change once a day.
type signingKeys struct {
	mu   sync.RWMutex
	keys map[keyScope][]byte
}

// keyScope is what a derived key is for.
type keyScope struct{ accessKey, date, region, service string }

func (k *signingKeys) get(sig *signature) ([]byte, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, ok := k.keys[keyScope{sig.accessKey, sig.date, sig.region, sig.service}]
	return key, ok
}

// put keeps a key. Where there is no room, those of other days go, and if there are none all do.
func (k *signingKeys) put(sig *signature, key []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil {
		k.keys = map[keyScope][]byte{}
	}
	if len(k.keys) >= maxSigningKeys {
		for s := range k.keys {
			if s.date != sig.date {
				delete(k.keys, s)
			}
		}
	}
	if len(k.keys) >= maxSigningKeys {
		clear(k.keys)
	}
	k.keys[keyScope{strings.Clone(sig.accessKey), strings.Clone(sig.date), strings.Clone(sig.region), strings.Clone(sig.service)}] = key
}
