package iam

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strconv"
	"strings"
)

// Prefixes of ids ("IAM identifiers").
const (
	prefixUser    = "AIDA"
	prefixGroup   = "AGPA"
	prefixRole    = "AROA"
	prefixManaged = "ANPA"
	prefixProfile = "AIPA"
	prefixKey     = "AKIA" // of a user's access key
	prefixSession = "ASIA" // of a session's access key
)

var idEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// newID returns a random id: the prefix and 17 letters and digits.
func newID(prefix string) string {
	var raw [11]byte
	rand.Read(raw[:]) // never fails
	return prefix + idEncoding.EncodeToString(raw[:])[:17]
}

// newKeyID returns a random id of an access key: the prefix and 16 letters and digits. They contain the account, as AWS's do, so that a key's
// record is found without an index, and GetAccessKeyInfo needs no record.
func newKeyID(prefix, account string) (string, error) {
	n, err := strconv.ParseUint(account, 10, 40)
	if err != nil {
		return "", err
	}
	var raw [10]byte
	rand.Read(raw[:])
	low := uint64(raw[5]) & 0x7f
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], 1<<47|n<<7|low)
	copy(raw[:6], head[2:])
	return prefix + idEncoding.EncodeToString(raw[:]), nil
}

// keyIDLength is the length of an access key's id.
const keyIDLength = 20

// KeyAccount returns the account in the id of an access key; "" if the id has none.
func KeyAccount(id string) string {
	if len(id) != keyIDLength || !strings.HasPrefix(id, prefixKey) && !strings.HasPrefix(id, prefixSession) {
		return ""
	}
	var raw [8]byte
	var decoded [10]byte
	if _, err := idEncoding.Decode(decoded[:], []byte(id[len(prefixKey):])); err != nil {
		return ""
	}
	copy(raw[2:], decoded[:6])
	n := binary.BigEndian.Uint64(raw[:]) &^ (1 << 47) >> 7
	account := strconv.FormatUint(n, 10)
	if len(account) > accountLength {
		return ""
	}
	return strings.Repeat("0", accountLength-len(account)) + account
}

// accountLength is the number of digits of an account's id.
const accountLength = 12

// ref is an Amazon Resource Name of IAM or STS in its parts: arn:aws:SERVICE::ACCOUNT:KIND/PATH/NAME.
type ref struct {
	service, account string
	kind             string // user, role, policy, assumed-role, …; root
	path, name       string // path begins and ends with a slash
}

// parseARN takes an Amazon Resource Name of IAM or STS apart. ok is false for other texts.
func parseARN(text string) (r ref, ok bool) {
	parts := strings.SplitN(text, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] != "aws" || parts[2] != "iam" && parts[2] != "sts" || parts[3] != "" {
		return ref{}, false
	}
	r.service, r.account = parts[2], parts[4]
	kind, rest, deep := strings.Cut(parts[5], "/")
	r.kind = kind
	if !deep {
		return r, kind == "root"
	}
	end := strings.LastIndexByte(rest, '/') + 1
	r.path, r.name = "/"+rest[:end], rest[end:]
	return r, r.name != ""
}

// randomBytes returns 32 random bytes.
func randomBytes() []byte {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails
	return raw
}
