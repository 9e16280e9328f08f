package iam

import (
	"slices"
	"time"

	"github.com/statordb/stator/internal/registry"
)

// Declaration is all that a directory declares.
type Declaration struct {
	Accounts map[string]Declared
	// Digest identifies the directory's content: servers with the same files have the same digest. If it is empty, Apply does not record what was
	// applied.
	Digest string
	// Server names the server that applies it.
	Server string
}

// Outcome is what Apply has found out about other servers.
type Outcome struct {
	// Changed says that the digest differs from the one that was applied last.
	Changed bool
	// Rival names the server that has applied another directory in between, within the last rivalry, to the one that is applied now. It is
	// empty if there is no such server.
	Rival string
}

// rivalry is how long ago a server's directory may have been replaced by another server's for Apply to call that server a rival.
const rivalry = time.Hour

// maxApplied is how many directories are remembered.
const maxApplied = 4

// applied is the record of the directories that were applied last, the latest one first. There is one for all accounts.
type applied struct {
	Format format
	Last   []application
}

// application is a directory that a server has applied.
type application struct {
	Digest, Server string
	At             int64
}

// appliedRecord identifies the record.
var appliedRecord = registry.ID{Region: region, Name: "directory"}

// Applied returns the digest of the directory that was applied last, and the server that did so; empty if no directory was.
func (s *Service) Applied() (digest, server string) {
	if r := s.applied.Get(appliedRecord); r != nil && len(r.Last) > 0 {
		return r.Last[0].Digest, r.Last[0].Server
	}
	return "", ""
}

// sign records which directory is in force, unless it has been before.
func (s *Service) sign(txn *registry.Txn, d *Declaration) (out Outcome, err error) {
	if d.Digest == "" {
		return out, nil
	}
	r, err := s.applied.GetIn(txn, appliedRecord)
	if err != nil {
		return out, err
	}
	if r == nil {
		r = new(applied)
	}
	now := s.Now()
	if len(r.Last) > 0 {
		if r.Last[0].Digest == d.Digest {
			return out, nil
		}
		again := slices.ContainsFunc(r.Last, func(a application) bool { return a.Digest == d.Digest })
		if last := r.Last[0]; again && last.Server != d.Server && now.Sub(time.UnixMilli(last.At)) < rivalry {
			out.Rival = last.Server
		}
	}
	r.Last = slices.Insert(r.Last, 0, application{d.Digest, d.Server, now.UnixMilli()})
	r.Last = r.Last[:min(len(r.Last), maxApplied)]
	out.Changed = true
	return out, s.applied.PutIn(txn, appliedRecord, r)
}
