package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

const (
	// secretsKeyBytes is the length of a secrets key.
	secretsKeyBytes = 32
	// maxSecretsFile is the largest file of secrets keys in bytes.
	maxSecretsFile = 64 << 10
	// secretsInterval is how often the server checks the file of secrets keys for changes.
	secretsInterval = 2 * time.Second
	// usesInterval is how often the server stores when access keys were used last.
	usesInterval = time.Minute
)

// ErrSecretsKey means that a file or text with secrets keys is invalid.
var ErrSecretsKey = errors.New("a secrets key is 32 random bytes in Base64, for instance from: openssl rand -base64 32")

// parseSecrets reads secrets keys, one in a line, the first one for encryption. Its errors quote nothing.
func parseSecrets(text []byte) (keys iam.Keyring, err error) {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(string(line))
		if err != nil || len(key) != secretsKeyBytes {
			return nil, fmt.Errorf("line %d: %w", len(keys)+1, ErrSecretsKey)
		}
		keys = append(keys, key)
	}
	if keys == nil {
		return nil, fmt.Errorf("no key found: %w", ErrSecretsKey)
	}
	return keys, nil
}

// readSecrets returns the secrets keys that the options name. A server that keeps nothing makes one up. Without keys, the server issues no
// access keys.
func (s *starter) readSecrets() (keys iam.Keyring, err error) {
	switch opt := s.opt; {
	case opt.SecretsKeyFile != "":
		s.secrets = auth.NewFile("secrets keys", opt.SecretsKeyFile, maxSecretsFile)
		err = s.secrets.Reload(func(raw []byte) (err error) {
			keys, err = parseSecrets(raw)
			return err
		})
	case opt.SecretsKey != "":
		keys, err = parseSecrets([]byte(strings.ReplaceAll(opt.SecretsKey, ",", "\n")))
	case opt.InMemory:
		key := make([]byte, secretsKeyBytes)
		rand.Read(key) // never fails
		keys = iam.Keyring{key}
	}
	return keys, err
}

// keyIssuer implements auth.Issuer by IAM and STS.
type keyIssuer struct {
	*iam.Service
	now func() time.Time
}

// Credential implements auth.Issuer.
func (i keyIssuer) Credential(accessKey, token string) (string, *policy.Identity, *awserr.Error) {
	return i.Service.Credential(accessKey, token, i.now())
}

// Used implements auth.Issuer.
func (i keyIssuer) Used(accessKey, service, region string) {
	i.Service.Used(accessKey, service, region, i.now())
}

// Issued implements auth.Issuer. A server without credentials has one account, which no access key of AWS belongs to.
func (keyIssuer) Issued(accessKey string) bool {
	return iam.KeyAccount(accessKey) == auth.DefaultAccount
}

// openIAM opens IAM and STS, and lets them authenticate requests.
func (s *starter) openIAM() (err error) {
	keys, err := s.readSecrets()
	if err != nil {
		return err
	}
	s.iam, err = iam.New(s.ctx, iam.Options{
		Records: registry.Storage{Coordinator: s.servers, KV: s.store}, Now: s.opt.Now, Secrets: keys, Caller: access.Identity, Context: access.Context,
		Authorize: func(call *smithy.Call, action, resource string, own policy.Context) *awserr.Error {
			return access.Authorize(&access.Question{Call: call, Action: action, Resource: resource, Keys: own})
		},
		Logger: s.log,
	})
	if err != nil {
		return err
	}
	if err := s.iam.CheckSecrets(s.ctx); err != nil {
		return fmt.Errorf("%w: give the key that the data need (--secrets-key-file or STATOR_SECRETS_KEY)", err)
	}
	if s.auth.Issuer = s.opt.issuer; s.opt.issuer == nil {
		s.auth.Issuer = keyIssuer{s.iam, s.opt.Now}
	}
	s.auth.Principal = s.principalOf
	s.principals = auth.PrincipalsFile(s.opt.TLS.Principals)
	return s.readPrincipals(s.principals)
}

// principalOf returns the user, role or root with an ARN, or nil.
func (s *Server) principalOf(arn string) *policy.Identity {
	id, err := s.iam.Principal(arn)
	if err != nil {
		s.log.Error("cannot read a principal of IAM", "principal", arn, "error", err)
	}
	return id
}

// followSecrets starts the work that reads secrets keys again when their file changes, and stores when access keys were used.
func (s *Server) followSecrets(ctx context.Context, report reporter) {
	if s.secrets != nil {
		s.goOn("reading secrets keys", func() {
			jobs.Every(ctx, s.log, "reading secrets keys", secretsInterval, func() { s.rotateSecrets(ctx) })
		})
	}
	s.goOn("storing the last use of access keys", func() {
		jobs.Every(ctx, s.log, "storing the last use of access keys", usesInterval, func() { report("store the last use of access keys")(s.iam.Flush(ctx)) })
	})
}

// rotateSecrets reads the secrets keys again if their file has changed. Once its first key is a new one, everything is encrypted by that.
func (s *Server) rotateSecrets(ctx context.Context) {
	count := 0
	changed, err := s.secrets.Refresh(func(raw []byte) error {
		keys, err := parseSecrets(raw)
		if err == nil {
			count, err = s.iam.Rotate(ctx, keys)
		}
		return err
	})
	switch {
	case err != nil:
		s.log.Error("cannot use the changed secrets keys; the current ones stay in force", "error", err)
	case changed:
		s.log.Info("reloaded the secrets keys", "encrypted again", count)
	}
}
