package iam

import (
	"context"
	"strings"
	"time"

	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// useResolution is how exactly the last use of an access key is known. AWS, too, may be late by hours.
const useResolution = 5 * time.Minute

// Used notes that a user's access key has signed a request to a service. It is cheap, and stores nothing: Flush does.
func (s *Service) Used(accessKey, service, region string, now time.Time) {
	at := now.UnixMilli()
	if v, ok := s.used.Load(accessKey); ok {
		last := v.(*keyUse)
		if at-last.At < useResolution.Milliseconds() && last.Service == service && last.Region == region {
			return
		}
	}
	account := KeyAccount(accessKey)
	if account == "" || !strings.HasPrefix(accessKey, prefixKey) {
		return // an operator's key or a session's: no use of these is recorded
	}
	if k := s.keys.Get(keyRecord(account, accessKey)); k != nil {
		s.used.Store(k.ID, &keyUse{Account: account, ID: k.ID, At: at, Service: strings.Clone(service), Region: strings.Clone(region)})
	}
}

// Flush stores what Used has noted, unless about the same or a later use is stored. Call it every few minutes, and at the end.
func (s *Service) Flush(ctx context.Context) (err error) {
	s.used.Range(func(_, v any) bool {
		use := v.(*keyUse)
		id := keyRecord(use.Account, use.ID)
		if stored := s.uses.Get(id); stored == nil || use.At-stored.At >= useResolution.Milliseconds() {
			err = s.update(ctx, use.Account, func(txn *registry.Txn) error {
				k, err := s.keys.GetIn(txn, id)
				if err != nil {
					return err
				}
				if k == nil { // deleted meanwhile
					s.used.Delete(use.ID)
					return nil
				}
				return s.uses.PutIn(txn, id, use)
			})
		}
		return err == nil
	})
	return err
}

// lastUse returns an access key's last use, or nil.
func (s *Service) lastUse(k *accessKey) *keyUse {
	stored := s.uses.Get(k.record())
	if v, ok := s.used.Load(k.ID); ok {
		if use := v.(*keyUse); stored == nil || use.At > stored.At {
			return use
		}
	}
	return stored
}

func (s *Service) getAccessKeyLastUsed(_ context.Context, call *smithy.Call, in *api.GetAccessKeyLastUsedRequest) (*api.GetAccessKeyLastUsedResponse, error) {
	id, account := in.AccessKeyId.Value, s.Caller(call).Account
	k := s.keys.Get(keyRecord(account, id))
	resource := "*"
	if k != nil {
		resource = s.users.resource(account, k.User)
	}
	if err := s.authorize(call, resource, nil); err != nil {
		return nil, err
	}
	if k == nil {
		return nil, noKey(id)
	}
	// AWS answers N/A for a key that has not been used.
	out := &api.AccessKeyLastUsed{ServiceName: smithy.Some("N/A"), Region: smithy.Some("N/A")}
	if use := s.lastUse(k); use != nil {
		out = &api.AccessKeyLastUsed{LastUsedDate: seconds(use.At), ServiceName: smithy.Some(use.Service), Region: smithy.Some(use.Region)}
	}
	return &api.GetAccessKeyLastUsedResponse{UserName: smithy.Some(k.User), AccessKeyLastUsed: out}, nil
}
