package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/statordb/stator/internal/tenant"
)

// Credential is an access key that the server knows.
type Credential struct {
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	// Account is twelve digits; DefaultAccount if it is missing.
	Account string `json:"account"`
	// Operator says that the key may run the server: read its metrics, create checkpoints.
	Operator bool `json:"operator"`
	// Regions are those that the key may sign for; empty means all.
	Regions []string `json:"regions"`
	// Buckets are the buckets of an S3-compatible store that the account may use: names, or prefixes followed by an asterisk.
	Buckets []string `json:"buckets"`
	// Limits bound what the account may use. Keys of one account that have limits must have the same.
	Limits *tenant.Limits `json:"limits"`
}

// keyring is the content of a credentials file. It is immutable except for its cache: a changed file makes a new keyring.
type keyring struct {
	credentials map[string]*Credential // by access key id
	buckets     map[string][]string    // by account
	limits      map[string]tenant.Limits
	operators   map[string]bool // accounts that have an operator's key
	keys        signingKeys     // cache of derived keys
}

// maxCredentials is the largest credentials file in bytes.
const maxCredentials = 16 << 20

var (
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	keyPattern     = regexp.MustCompile(`^[!-~]{1,128}$`)
)

// Load reads credentials from a file: a JSON list of Credentials. It fails if anyone but the file's owner can write the file.
func Load(file string, now func() time.Time) (*Authenticator, error) {
	a := &Authenticator{Now: now, file: NewFile("credentials file", file, maxCredentials)}
	if err := a.Reload(); err != nil {
		return nil, err
	}
	return a, nil
}

// Reload reads the credentials file again. From then on exactly the keys in it are valid. On an error the keys stay as they were.
func (a *Authenticator) Reload() error { return a.file.Reload(a.use) }

// Refresh is Reload if the file's content has changed since it was last read. changed reports a change, or a new error; see File.
func (a *Authenticator) Refresh() (changed bool, _ error) { return a.file.Refresh(a.use) }

// use makes the keys of a credentials file valid.
func (a *Authenticator) use(raw []byte) error {
	ring, err := parseCredentials(raw)
	if err != nil {
		return err
	}
	a.ring.Store(ring)
	return nil
}

// checkWriters fails if the file's group or others can write it or replace it: they could make keys for every account. That includes the
// file's directory, and those of the links' targets, if everybody can write there without the sticky bit. A directory may be writable by
// its group, because many systems create users' directories that way.
func checkWriters(name string, info fs.FileInfo) error {
	if runtime.GOOS == "windows" { // Windows has no such permission bits
		return nil
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("its group or others can write it (mode %04o): remove that permission, e.g. with chmod go-w", info.Mode().Perm())
	}
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return plain(err)
	}
	for _, dir := range []string{filepath.Dir(name), filepath.Dir(target)} {
		d, err := os.Stat(dir)
		if err != nil {
			return plain(err)
		}
		if d.Mode().Perm()&0o002 != 0 && d.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("all users can replace it because they can write the directory %s: remove that permission, e.g. with chmod o-w", dir)
		}
	}
	return nil
}

// Limits returns the limits of the accounts in the credentials file, by account.
func (a *Authenticator) Limits() map[string]tenant.Limits {
	if ring := a.ring.Load(); ring != nil {
		return ring.limits
	}
	return nil
}

// OnlyAccount returns the account of all keys in the credentials file, DefaultAccount without a file, or "" if the file has several accounts.
func (a *Authenticator) OnlyAccount() string {
	ring := a.ring.Load()
	if ring == nil {
		return DefaultAccount
	}
	if len(ring.buckets) > 1 { // it has an entry for each account
		return ""
	}
	for account := range ring.buckets {
		return account
	}
	return ""
}

// Readers returns a warning if others than the server can read the credentials file, or "". Group access is fine if the server doesn't own
// the file, because then it needs that access itself.
func (a *Authenticator) Readers() string {
	if a.file == nil || runtime.GOOS == "windows" {
		return ""
	}
	info, err := os.Stat(a.file.name)
	if err != nil {
		return "" // Reload has reported it
	}
	mode := info.Mode().Perm()
	if mode&0o004 != 0 || mode&0o040 != 0 && ownFile(info) {
		return fmt.Sprintf("other users of this machine can read the credentials file %s (mode %04o): chmod 0400 it", a.file.name, mode)
	}
	return ""
}

// parseCredentials parses a credentials file. Its errors contain no value of the file, since that could be a secret.
func parseCredentials(raw []byte) (*keyring, error) {
	var list []Credential
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, jsonProblem(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is more text after the list")
	}
	if len(list) == 0 {
		return nil, errors.New("it has no entries")
	}
	ring := &keyring{
		credentials: map[string]*Credential{}, buckets: map[string][]string{}, operators: map[string]bool{}, limits: map[string]tenant.Limits{},
	}
	for i := range list {
		c := &list[i]
		if c.Account == "" {
			c.Account = DefaultAccount
		}
		if problem := c.problem(); problem != "" {
			return nil, fmt.Errorf("entry %d %s", i+1, problem)
		}
		if ring.credentials[c.AccessKeyID] != nil {
			return nil, fmt.Errorf("entry %d repeats the accessKeyId of an earlier one", i+1)
		}
		ring.credentials[c.AccessKeyID] = c
		ring.buckets[c.Account] = append(ring.buckets[c.Account], c.Buckets...)
		if c.Operator {
			ring.operators[c.Account] = true
		}
		if c.Limits == nil {
			continue
		}
		if known, ok := ring.limits[c.Account]; ok && known != *c.Limits {
			return nil, fmt.Errorf("entry %d has other limits for its account than an earlier one", i+1)
		}
		ring.limits[c.Account] = *c.Limits
	}
	return ring, nil
}

// problem returns what is wrong with an entry, or "".
func (c *Credential) problem() string {
	switch {
	case c.AccessKeyID == "" || c.SecretAccessKey == "" || !accountPattern.MatchString(c.Account):
		return "needs accessKeyId, secretAccessKey and an account of twelve digits"
	case !keyPattern.MatchString(c.AccessKeyID) || strings.ContainsAny(c.AccessKeyID, "/,="):
		return "has an accessKeyId that can't be in a signature: it must have up to 128 characters of ASCII, without spaces and / , ="
	case slices.ContainsFunc(c.Regions, func(r string) bool { return !regionForm(r) }):
		return "has an invalid region"
	}
	if c.Limits != nil && c.Limits.Negative() {
		return "has a negative limit"
	}
	for _, b := range c.Buckets {
		if name := strings.TrimSuffix(b, "*"); b == "" || strings.Contains(name, "*") {
			return "has a bucket that is neither a name nor a prefix followed by an asterisk"
		}
	}
	return ""
}

// jsonProblem rewords an error of encoding/json without quoting values.
func jsonProblem(err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind):
		return fmt.Errorf("it must be a JSON list of objects; %q at byte %d has the wrong type", kind.Field, kind.Offset)
	case errors.As(err, &syntax):
		return fmt.Errorf("it is not JSON at byte %d", syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends too early")
	case strings.HasPrefix(err.Error(), "json: unknown field"):
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return errors.New("it is not a JSON list of credentials")
}
