package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
)

// scopeText returns the credential scope.
func (sig *signature) scopeText() string {
	return sig.date + "/" + sig.region + "/" + sig.service + "/" + terminator
}

// sign returns the signature of a request with a derived key.
func (sig *signature) sign(method, path, query string, headers fields, body []byte, key []byte) string {
	canonical := sha256.Sum256([]byte(sig.canonicalRequest(method, path, query, headers, body)))
	return hex.EncodeToString(mac(key, algorithm+"\n"+sig.time+"\n"+sig.scopeText()+"\n"+hex.EncodeToString(canonical[:])))
}

// deriveKey returns the signing key for a day, region and service.
func deriveKey(secret string, sig *signature) []byte {
	return mac(mac(mac(mac([]byte("AWS4"+secret), sig.date), sig.region), sig.service), terminator)
}

// mac returns the HMAC-SHA256 of data.
func mac(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}

// maxSigningKeys bounds the cache of signing keys. There is one per access key, day, region and service.
const maxSigningKeys = 1000

// signingKeys caches derived keys: deriving one takes four HMACs, and it is good for a day.
type signingKeys struct {
	mu   sync.RWMutex
	keys map[keyScope][]byte
}

// keyScope is what a derived key is valid for.
type keyScope struct{ accessKey, date, region, service string }

// get returns the cached key for a signature's scope.
func (k *signingKeys) get(sig *signature) ([]byte, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, ok := k.keys[keyScope{accessKey: sig.accessKey, date: sig.date, region: sig.region, service: sig.service}]
	return key, ok
}

// put caches a key. In a full cache, keys of other days make room, or, if there are none, all keys.
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
	// sig is made of views of the request.
	scope := keyScope{
		accessKey: strings.Clone(sig.accessKey), date: strings.Clone(sig.date),
		region: strings.Clone(sig.region), service: strings.Clone(sig.service),
	}
	k.keys[scope] = key
}
