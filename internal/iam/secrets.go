package iam

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/registry"
)

// Keyring holds secrets keys of 32 random bytes each. The first one encrypts, all decrypt. To rotate a key without interruption: append the new
// key to every server's ring, move it to the front on every server, call Reencrypt, and remove the old key, which ends the sessions that
// it sealed.
type Keyring [][]byte

// secretsKeyLength is the length of a secrets key in bytes.
const secretsKeyLength = 32

// sealer has what is derived from a secrets key. Each purpose has a key of its own.
type sealer struct {
	id       string      // tells keys apart, and reveals nothing of the key
	records  cipher.AEAD // encrypts access keys' secrets
	tokens   []byte      // from which the key of each session token is derived
	sessions []byte      // from which the secret of each session is derived
}

// keyIDBytes is the length of a sealer's id, before it is encoded.
const keyIDBytes = 8

func newSealer(key []byte) (*sealer, error) {
	if len(key) != secretsKeyLength {
		return nil, fmt.Errorf("a secrets key must have %d bytes, not %d", secretsKeyLength, len(key))
	}
	derive := func(purpose string, length int) ([]byte, error) {
		return hkdf.Key(sha256.New, key, nil, "stator iam "+purpose, length)
	}
	id, err0 := derive("key id", keyIDBytes)
	records, err1 := derive("records", 32)
	tokens, err2 := derive("session tokens", 32)
	sessions, err3 := derive("session secrets", 32)
	if err := errors.Join(err0, err1, err2, err3); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(records)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{id: hex.EncodeToString(id), records: aead, tokens: tokens, sessions: sessions}, nil
}

// mac returns the HMAC-SHA256 of a message.
func mac(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message)) // never fails
	return h.Sum(nil)
}

// secretLength is the length of a secret access key.
const secretLength = 40

// secretText returns 30 random bytes in the form of a secret access key.
func secretText(random []byte) string {
	return base64.StdEncoding.EncodeToString(random[:secretLength/4*3])
}

// ring is the Keyring in use. It is immutable.
type ring []*sealer

func newRing(keys Keyring) (ring, error) {
	var out ring
	for i, key := range keys {
		s, err := newSealer(key)
		if err != nil {
			return nil, fmt.Errorf("secrets key %d: %w", i+1, err)
		}
		if out.find(s.id) != nil {
			return nil, fmt.Errorf("secrets key %d repeats an earlier one", i+1)
		}
		out = append(out, s)
	}
	return out, nil
}

// find returns the sealer with an id, or nil.
func (r ring) find(id string) *sealer {
	for _, s := range r {
		if s.id == id {
			return s
		}
	}
	return nil
}

// SetSecrets replaces Options.Secrets. Call CheckSecrets before.
func (s *Service) SetSecrets(keys Keyring) error {
	r, err := newRing(keys)
	if err != nil {
		return err
	}
	s.secrets.Store(&r)
	s.known.Store(nil)
	return nil
}

// Rotate replaces Options.Secrets and encrypts everything by the first of the new keys. On an error, which may be that a key is missing by which
// something is encrypted, the old ones stay in force. count is how many secrets it has encrypted again.
func (s *Service) Rotate(ctx context.Context, keys Keyring) (count int, err error) {
	before := s.secrets.Load()
	if err := s.SetSecrets(keys); err != nil {
		return 0, err
	}
	if err = s.CheckSecrets(ctx); err == nil {
		count, err = s.Reencrypt(ctx)
	}
	if err != nil {
		s.secrets.Store(before)
		s.known.Store(nil)
	}
	return count, err
}

// errNoSecrets refuses operations that make or need secrets.
var errNoSecrets = awserr.New(invalidInput, "This server has no key to encrypt secrets with, so it can't issue access keys or session tokens. Start it with --secrets-key-file.")

// sealer returns what encrypts.
func (s *Service) sealer() (*sealer, error) {
	if r := *s.secrets.Load(); len(r) > 0 {
		return r[0], nil
	}
	return nil, errNoSecrets
}

// seal encrypts an access key's secret into its record.
func (k *accessKey) seal(with *sealer, secret string) {
	k.SealedBy = with.id
	k.Sealed = with.records.Seal(nil, nil, []byte(secret), []byte(k.Account+k.ID))
}

// unseal returns the secret of an access key.
func (s *Service) unseal(k *accessKey) (string, error) {
	with := s.secrets.Load().find(k.SealedBy)
	if with == nil {
		return "", fmt.Errorf("access key %s is encrypted by secrets key %s, which this server does not have", k.ID, k.SealedBy)
	}
	secret, err := with.records.Open(nil, nil, k.Sealed, []byte(k.Account+k.ID))
	if err != nil {
		return "", fmt.Errorf("access key %s: %w", k.ID, err)
	}
	return string(secret), nil
}

// secretsCheck names the secrets key that encrypts on the servers of this store.
type secretsCheck struct {
	Format format
	KeyID  string
}

var checkRecord = registry.ID{Region: region, Name: "key"}

// CheckSecrets fails if a key in Options.Secrets is missing that other servers of the store encrypt with. The first server that has keys decides.
// Without keys it fails if the store has secrets.
func (s *Service) CheckSecrets(ctx context.Context) error {
	r := *s.secrets.Load()
	return registry.Update(ctx, s.Records.KV, kv.TxnOpt{}, func(txn *registry.Txn) error {
		check, err := s.checks.GetIn(txn, checkRecord)
		switch {
		case err != nil:
			return err
		case check == nil && len(r) > 0:
			return s.checks.PutIn(txn, checkRecord, &secretsCheck{KeyID: r[0].id})
		case check != nil && len(r) == 0:
			return fmt.Errorf("the data has secrets that are encrypted by secrets key %s, and this server has no secrets key", check.KeyID)
		case check != nil && r.find(check.KeyID) == nil:
			return fmt.Errorf("the data has secrets that are encrypted by secrets key %s, which is not among this server's", check.KeyID)
		}
		return nil
	})
}

// Reencrypt encrypts all access keys' secrets by the first secrets key. It may be repeated after an error. count is how many it changed.
func (s *Service) Reencrypt(ctx context.Context) (count int, err error) {
	with, err := s.sealer()
	if err != nil {
		return 0, err
	}
	for page := range slices.Chunk(s.keys.All(), reencryptedAtOnce) {
		changed := 0
		err := registry.Update(ctx, s.Records.KV, kv.TxnOpt{}, func(txn *registry.Txn) error {
			changed = 0
			for _, k := range page {
				if k.SealedBy == with.id {
					continue
				}
				_, err := s.keys.ChangeIn(txn, k.record(), func(k *accessKey) error {
					secret, err := s.unseal(k)
					if err != nil {
						return err
					}
					k.seal(with, secret)
					changed++
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return count, err
		}
		count += changed
	}
	return count, s.checks.Put(ctx, checkRecord, &secretsCheck{KeyID: with.id})
}

// reencryptedAtOnce is how many access keys a transaction of Reencrypt changes.
const reencryptedAtOnce = 100
