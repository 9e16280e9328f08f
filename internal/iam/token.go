package iam

import (
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/stsapi"
	"github.com/statordb/stator/internal/smithy"
)

// session is what a session token holds: all that a server needs to authenticate the session, except for the records of its role or user.
type session struct {
	Type    string // one of aws:PrincipalType
	Key     string // id of its access key
	Account string
	// Owner and OwnerID are the name and id of the role or user whose session it is; empty for the account's root. The session ends with its owner.
	Owner   string `json:",omitempty"`
	OwnerID string `json:",omitempty"`
	Name    string `json:",omitempty"` // name of the session
	// Limited says that the session has session policies. A federated user's session is always limited, and without policies it may do nothing.
	Limited    bool     `json:",omitempty"`
	Policies   []string `json:",omitempty"` // texts
	ARNs       []string `json:",omitempty"` // of managed policies
	Tags       []tag    `json:",omitempty"`
	Transitive []string `json:",omitempty"` // keys of the tags that further sessions inherit
	Source     string   `json:",omitempty"` // source identity
	// Issued and Expires are in seconds since 1970.
	Issued, Expires int64
}

// A token is, in base64:
//
//	version (1) | id of the secrets key (8) | salt (16) | sealed session: its JSON, compressed and encrypted
//
// The encryption is AES-256-GCM under a key of the token's own, which the salt derives from the secrets key. The part in front of the sealed
// session is authenticated too.
const (
	tokenVersion = 1
	tokenSalt    = 1 + keyIDBytes
	tokenSealed  = tokenSalt + 16
)

// Bounds of tokens, in bytes.
const (
	maxToken   = 8192 // AWS's are no longer than 4,096 by default; headers bound them too
	maxSession = 64 << 10
	// maxPacked bounds what session policies and tags need of a token ("PackedPolicySize"). AWS's bound is not public.
	maxPacked = 3072
)

// aead returns what seals a token with a salt. The key is used once, so its nonce may be constant.
func (s *sealer) aead(salt []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(mac(s.tokens, string(salt)))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

var tokenNonce = make([]byte, 12)

// seal returns a session's token and its secret access key, which the token's content and the secrets key give.
func (s *sealer) seal(v *session) (token, secret string, err error) {
	plain, err := deflate(v)
	if err != nil {
		return "", "", err
	}
	id, err := hex.DecodeString(s.id)
	if err != nil {
		return "", "", err
	}
	raw := append([]byte{tokenVersion}, id...)
	salt := make([]byte, tokenSealed-tokenSalt)
	rand.Read(salt) // never fails
	raw = append(raw, salt...)
	aead, err := s.aead(salt)
	if err != nil {
		return "", "", err
	}
	raw = aead.Seal(raw, tokenNonce, plain, raw)
	return base64.StdEncoding.EncodeToString(raw), s.secretOf(raw), nil
}

// secretOf returns the secret access key of a session, given its token's bytes.
func (s *sealer) secretOf(raw []byte) string { return secretText(mac(s.sessions, string(raw))) }

// errToken is the error for a token that no server of this store has issued.
var errToken = errors.New("not a session token")

// open returns the session in a token, and its secret access key.
func (r ring) open(token string) (v *session, secret string, err error) {
	if len(token) > maxToken {
		return nil, "", errToken
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < tokenSealed || raw[0] != tokenVersion || strings.ContainsAny(token, "\r\n") {
		return nil, "", errToken
	}
	s := r.find(hex.EncodeToString(raw[1:tokenSalt]))
	if s == nil {
		return nil, "", errToken
	}
	aead, err := s.aead(raw[tokenSalt:tokenSealed])
	if err != nil {
		return nil, "", err
	}
	plain, err := aead.Open(nil, tokenNonce, raw[tokenSealed:], raw[:tokenSealed])
	if err != nil {
		return nil, "", errToken
	}
	// What is authentic was made by this program: an error is one of the program.
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(plain)), maxSession))
	if err != nil {
		return nil, "", fmt.Errorf("session token: %w", err)
	}
	v = new(session)
	if err := json.Unmarshal(text, v); err != nil {
		return nil, "", fmt.Errorf("session token: %w", err)
	}
	return v, s.secretOf(raw), nil
}

// deflate returns a value's JSON, compressed.
func deflate(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(text) >= maxSession {
		return nil, errPacked
	}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(text)
	err = errors.Join(err, w.Close()) // Close writes the rest
	return out.Bytes(), err
}

// errPacked is AWS's error for session policies and tags that don't fit into a token.
var errPacked = awserr.New(packedTooLarge, "The total packed size of the session policies and session tags exceeds the limit.")

// packed returns the share of a token's room, in percent, that session policies and tags take; nothing if there are none.
func (v *session) packed() (percent smithy.Opt[int64], err error) {
	if len(v.Policies)+len(v.ARNs)+len(v.Tags) == 0 {
		return percent, nil
	}
	raw, err := deflate([]any{v.Policies, v.ARNs, v.Tags})
	if err != nil {
		return percent, err
	}
	percent = smithy.Some(max(1, int64(len(raw))*100/maxPacked))
	if percent.Value > 100 {
		return percent, errPacked
	}
	return percent, nil
}

// issue issues the credentials of a new session for a number of seconds. It completes the session.
func (s *Service) issue(v *session, seconds int64) (*stsapi.Credentials, error) {
	with, err := s.sealer()
	if err != nil {
		return nil, err
	}
	if v.Key, err = newKeyID(prefixSession, v.Account); err != nil {
		return nil, err
	}
	v.Issued = s.Now().Unix()
	v.Expires = v.Issued + seconds
	token, secret, err := with.seal(v)
	if err != nil {
		return nil, err
	}
	return &stsapi.Credentials{
		AccessKeyId: smithy.Some(v.Key), SecretAccessKey: smithy.Some(secret), SessionToken: smithy.Some(token), Expiration: smithy.Some(float64(v.Expires)),
	}, nil
}

// sessionARN returns the ARN of a role's or federated user's session.
func sessionARN(account, kind, name string) string {
	return "arn:aws:sts::" + account + ":" + kind + "/" + name
}

// sessionIdentity returns the identity of a session with the policies that are in force now; nil if its role or user is gone.
func (s *Service) sessionIdentity(v *session) (*policy.Identity, error) {
	var id *policy.Identity
	var err error
	switch v.Type {
	case typeRole:
		r := s.roles.find(v.Account, v.Owner)
		if r == nil || r.ID != v.OwnerID {
			return nil, nil
		}
		id, err = s.roleIdentity(r, v.Name)
		id.Tags = tagMap(withTags(r.Tags, v.Tags))
	case typeUser:
		u := s.userByID(v.Account, v.Owner, v.OwnerID)
		if u == nil {
			return nil, nil
		}
		id, err = s.userIdentity(u)
	case typeFederated:
		id = &policy.Identity{Policies: policy.Set{}}
		if v.Owner == "" {
			id.Policies.Identity, err = s.documents(v.Account, &grants{Attached: []string{administrator}})
		} else {
			u := s.userByID(v.Account, v.Owner, v.OwnerID)
			if u == nil {
				return nil, nil
			}
			id, err = s.userIdentity(u)
		}
		id.Principal = policy.Principal{Account: v.Account, ARN: sessionARN(v.Account, "federated-user", v.Name)}
		id.Type, id.UserID, id.UserName, id.Tags = typeFederated, v.Account+":"+v.Name, "", tagMap(v.Tags)
	case typeAccount:
		id = rootIdentity(v.Account)
	default:
		return nil, fmt.Errorf("session token of the unknown type %q", v.Type)
	}
	if err != nil {
		return nil, err
	}
	id.Issued, id.Expires = time.Unix(v.Issued, 0), time.Unix(v.Expires, 0)
	id.SourceIdentity, id.TransitiveTags = v.Source, v.Transitive
	if v.Limited {
		id.Policies.Session = []*policy.Document{}
	}
	for _, text := range v.Policies {
		d, err := policy.Parse(text, policy.OfIdentity)
		if err != nil {
			return nil, fmt.Errorf("session token: %w", err)
		}
		id.Policies.Session = append(id.Policies.Session, d)
	}
	for _, arn := range v.ARNs {
		m := s.lookup(v.Account, arn)
		if m == nil {
			return nil, nil // without one of its policies, which may deny something, the session would have more rights
		}
		d, err := m.inForce().Text.compile(policy.OfIdentity)
		if err != nil {
			return nil, err
		}
		id.Policies.Session = append(id.Policies.Session, d)
	}
	return id, nil
}

// administrator is the policy of AWS that allows everything.
const administrator = "arn:aws:iam::aws:policy/AdministratorAccess"
