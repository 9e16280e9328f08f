package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/iam/declared"
	"github.com/statordb/stator/internal/jobs"
)

const (
	// policiesInterval is how often the server checks the directory of policies, and the file of web identities, for changes.
	policiesInterval = 2 * time.Second
	// policiesGrace is how long servers may have different directories before they log it: Kubernetes takes about a minute until every pod has the new
	// files.
	policiesGrace = 2 * time.Minute
	// maxWebIdentity is the largest file of web identities in bytes.
	maxWebIdentity = 1 << 20
)

// policies is the directory that declares users, groups, roles and policies.
type policies struct {
	dir string

	mu      sync.Mutex // held while the directory is read and applied
	applied string     // the digest of what this server applied last
	seen    string     // the digest of a change that is not applied yet
	fail    string     // the last error, until the directory is applied
	other   string     // the digest of another server's directory, which is in force
	since   time.Time  // when other was first seen; zero once it is logged
}

// openPolicies applies the directory of policies, and reads the file of web identities.
func (s *starter) openPolicies() error {
	s.policies.dir = s.opt.Policies
	s.webIdentity = auth.NewFile("web identities", s.opt.WebIdentity, maxWebIdentity)
	if _, err := s.refreshPolicies(s.ctx, true); err != nil {
		return err
	}
	return s.webIdentity.Reload(s.useWebIdentity)
}

// refreshPolicies applies the directory of policies if it has changed. It does so even if it has not when always is set. Otherwise a change must be there
// twice, so that files that are written one after the other are applied together. logged reports a change, or a new error.
func (s *Server) refreshPolicies(ctx context.Context, always bool) (logged bool, err error) {
	p := &s.policies
	if p.dir == "" {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := declared.Read(p.dir, s.auth.OnlyAccount())
	if err == nil && !always {
		switch {
		case d.Digest == p.applied && p.fail == "":
			p.seen = ""
			s.compareServers()
			return false, nil
		case d.Digest != p.seen:
			p.seen = d.Digest
			return false, nil
		}
	}
	var changed bool
	if err == nil {
		changed, err = s.applyPolicies(ctx, d)
	}
	if err != nil {
		err = fmt.Errorf("policies:\n%w", err)
		logged = always || p.fail != err.Error()
		p.fail = err.Error()
		if !logged {
			err = nil
		}
		return logged, err
	}
	logged = changed || p.fail != "" || always
	p.applied, p.seen, p.fail, p.other = d.Digest, "", "", ""
	return logged, nil
}

// applyPolicies applies what a directory declares.
func (s *Server) applyPolicies(ctx context.Context, d *declared.Directory) (changed bool, err error) {
	declaration, err := d.Parse()
	if err != nil {
		return false, err
	}
	declaration.Server = s.id
	outcome, err := s.iam.Apply(ctx, declaration)
	if err != nil {
		return false, d.Locate(err)
	}
	if outcome.Rival != "" {
		s.log.Warn("servers apply different directories of policies in turn: the last one to apply its directory wins; give all servers the same files",
			"directory", s.policies.dir, "other", outcome.Rival)
	}
	return outcome.Changed, nil
}

// compareServers logs it if another server's directory has been in force for a while.
func (s *Server) compareServers() {
	p := &s.policies
	digest, server := s.iam.Applied()
	switch now := s.now(); {
	case digest == p.applied:
		p.other = ""
	case digest != p.other:
		p.other, p.since = digest, now
	case !p.since.IsZero() && now.Sub(p.since) >= policiesGrace:
		p.since = time.Time{}
		s.log.Warn("this server's directory of policies is not in force: another server has applied a different one; give all servers the same files",
			"directory", p.dir, "other", server)
	}
}

// logPolicies logs the outcome of refreshPolicies.
func (s *Server) logPolicies(logged bool, err error) {
	switch {
	case err != nil:
		s.log.Error("cannot apply the directory of policies; what it declared before stays in force", "error", err)
	case logged:
		s.log.Info("applied the directory of policies", "directory", s.policies.dir)
	}
}

// useWebIdentity accepts the tokens of the providers in a file of web identities.
func (s *Server) useWebIdentity(raw []byte) error {
	list, err := declared.ParseIssuers(s.webIdentity.Name(), raw)
	if err != nil {
		return err
	}
	return s.iam.SetIssuers(list)
}

// logWebIdentity logs the outcome of reading the file of web identities again.
func (s *Server) logWebIdentity(changed bool, err error) {
	switch {
	case err != nil:
		s.log.Error("cannot use the changed file of web identities; the current providers stay in force", "error", err)
	case changed:
		s.log.Info("reloaded the file of web identities")
	}
}

// reloadPolicies applies the directory of policies and reads the file of web identities again. Errors are logged and returned.
func (s *Server) reloadPolicies() error {
	logged, err := s.refreshPolicies(context.Background(), true)
	s.logPolicies(logged, err)
	failed := s.webIdentity.Reload(s.useWebIdentity)
	s.logWebIdentity(s.webIdentity != nil, failed)
	return errors.Join(err, failed)
}

// followPolicies starts the work that follows changes of the directory of policies and the file of web identities.
func (s *Server) followPolicies(ctx context.Context) {
	if s.policies.dir == "" && s.webIdentity == nil {
		return
	}
	s.goOn("reading policies", func() {
		jobs.Every(ctx, s.log, "reading policies", policiesInterval, func() {
			s.logPolicies(s.refreshPolicies(ctx, false))
			s.logWebIdentity(s.webIdentity.Refresh(s.useWebIdentity))
		})
	})
}
