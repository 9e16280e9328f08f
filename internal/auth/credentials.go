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
	"sync"
	"time"
)

// Credential is an access key that the server knows.
type Credential struct {
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	// Account has twelve digits; DefaultAccount if it is missing.
	Account string `json:"account"`
	// Operator says that the key may run the server: read its metrics, make checkpoints.
	Operator bool `json:"operator"`
	// Regions are those for which the key may sign; none is all.
	Regions []string `json:"regions"`
	// Buckets of an S3-compatible store that the account may use: names, or prefixes with an asterisk behind.
	Buckets []string `json:"buckets"`
}

// keyring is what a credentials file has. It does not change; another file makes another.
type keyring struct {
	credentials map[string]*Credential
	buckets     map[string][]string // by account
	keys        signingKeys
}

// maxCredentials is how many bytes a credentials file has at most.
const maxCredentials = 16 << 20

var (
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	keyPattern     = regexp.MustCompile(`^[!-~]{1,128}$`)
)

// Load reads credentials from a file: a JSON list of Credentials. The file must not be one that others than its owner can write.
func Load(file string, now func() time.Time) (*Authenticator, error) {
	a := &Authenticator{Now: now, file: file}
	if err := a.Reload(); err != nil {
		return nil, err
	}
	return a, nil
}

// lastRead is what was found when the credentials file was read last.
type lastRead struct {
	mu   sync.Mutex
	raw  []byte
	fail string
}

// Reload reads the credentials file again. The keys that it has count from then on, and those that it has not don't. On an error the
// keys stay as they were.
func (a *Authenticator) Reload() error {
	a.read.mu.Lock()
	defer a.read.mu.Unlock()
	_, err := a.reload(true)
	return err
}

// Refresh is Reload if the file is another than it was when it was read last; changed says whether it was, or an error has not been
// returned before. It is cheap, and compares what the file has: times and names of files tell too little of one that is
// replaced by a link, as Kubernetes does, or written twice in a moment.
func (a *Authenticator) Refresh() (changed bool, _ error) {
	if a.file == "" {
		return false, nil
	}
	a.read.mu.Lock()
	defer a.read.mu.Unlock()
	return a.reload(false)
}

// reload does both; the lock is held.
func (a *Authenticator) reload(always bool) (changed bool, err error) {
	raw, err := readCredentials(a.file)
	if err == nil {
		if !always && a.read.fail == "" && bytes.Equal(raw, a.read.raw) {
			return false, nil
		}
		var ring *keyring
		if ring, err = parseCredentials(raw); err == nil {
			a.ring.Store(ring)
			a.read.raw, a.read.fail = raw, ""
			return true, nil
		}
	}
	err = fmt.Errorf("credentials file %s: %w", a.file, err)
	// The same error at every look would fill the log.
	changed = always || a.read.fail != err.Error()
	a.read.fail = err.Error()
	if !changed {
		return false, nil
	}
	return true, err
}

// readCredentials returns what the file has, unless others can write it.
func readCredentials(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, plain(err)
	}
	if err := checkWriters(name, info); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxCredentials+1))
	if err != nil {
		return nil, plain(err)
	}
	if len(raw) > maxCredentials {
		return nil, fmt.Errorf("it has more than %d bytes", maxCredentials)
	}
	return raw, nil
}

// plain returns an error of the file system without the file's name, which the caller has said.
func plain(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// checkWriters refuses a file that its group or others can write, or replace: a user who can do so makes keys for every account. The
// directory counts, with those that links lead to, if everybody can write it and not only what is his own there (the sticky bit). Its
// group may write it: the directories of many systems' users are made so.
func checkWriters(name string, info fs.FileInfo) error {
	if runtime.GOOS == "windows" { // files there have no such bits
		return nil
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("its group or others can write it (mode %04o): take that from them, e.g. by chmod go-w", info.Mode().Perm())
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
			return fmt.Errorf("all users can replace it, since all can write the directory %s: take that from them, e.g. by chmod o-w", dir)
		}
	}
	return nil
}

// Readers returns a warning if others than the server can read the credentials file; empty if none can. The file's group may if the
// server does not own the file and needs it.
func (a *Authenticator) Readers() string {
	info, err := os.Stat(a.file)
	if a.file == "" || err != nil || runtime.GOOS == "windows" {
		return "" // Reload has told of it
	}
	mode := info.Mode().Perm()
	if mode&0o004 != 0 || mode&0o040 != 0 && ownFile(info) {
		return fmt.Sprintf("other users of this machine can read the credentials file %s (mode %04o): chmod 0400 it", a.file, mode)
	}
	return ""
}

// parseCredentials reads a credentials file. Its errors tell no value that the file has.
func parseCredentials(raw []byte) (*keyring, error) {
	var list []Credential
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, jsonProblem(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is more behind the list")
	}
	if len(list) == 0 {
		return nil, errors.New("it has no entries")
	}
	ring := &keyring{credentials: map[string]*Credential{}, buckets: map[string][]string{}}
	for i := range list {
		c := &list[i]
		if c.Account == "" {
			c.Account = DefaultAccount
		}
		if problem := c.problem(); problem != "" {
			return nil, fmt.Errorf("entry %d %s", i+1, problem)
		}
		if ring.credentials[c.AccessKeyID] != nil {
			return nil, fmt.Errorf("entry %d has an accessKeyId that an earlier one has", i+1)
		}
		ring.credentials[c.AccessKeyID] = c
		ring.buckets[c.Account] = append(ring.buckets[c.Account], c.Buckets...)
	}
	return ring, nil
}

// problem returns what is wrong with an entry; empty if nothing is.
func (c *Credential) problem() string {
	switch {
	case c.AccessKeyID == "" || c.SecretAccessKey == "" || !accountPattern.MatchString(c.Account):
		return "needs accessKeyId, secretAccessKey and an account of twelve digits"
	case !keyPattern.MatchString(c.AccessKeyID) || strings.ContainsAny(c.AccessKeyID, "/,="):
		return "has an accessKeyId that can't be in a signature: it must have up to 128 characters of ASCII, without spaces and / , ="
	case slices.ContainsFunc(c.Regions, func(r string) bool { return !regionForm(r) }):
		return "has a region that can be none"
	}
	for _, b := range c.Buckets {
		if name := strings.TrimSuffix(b, "*"); b == "" || strings.Contains(name, "*") {
			return "has a bucket that is neither a name nor a prefix with an asterisk behind"
		}
	}
	return ""
}

// jsonProblem words an error of encoding/json without the values that it may quote.
func jsonProblem(err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind):
		return fmt.Errorf("it must be a JSON list of objects; %q at byte %d has another type than it must have", kind.Field, kind.Offset)
	case errors.As(err, &syntax):
		return fmt.Errorf("it is no JSON at byte %d", syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends too early")
	case strings.HasPrefix(err.Error(), "json: unknown field"):
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return errors.New("it is no JSON list of credentials")
}
