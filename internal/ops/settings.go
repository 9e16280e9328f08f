package ops

import (
	"slices"
	"strings"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

// Settings of a table that UpdateTable changes alone: deletion protection, table class and encryption. AWS limits how often they
// change.
const (
	// settleTime must pass between changes of deletion protection, and between those of a resource policy.
	settleTime = 15 * time.Second
	// classChanges is how many changes of the table class are allowed within classWindow.
	classChanges = 2
	classWindow  = 30 * 24 * time.Hour
	// sseChanges is how many changes of the encryption are allowed at any time within sseWindow of the first. Further ones must be
	// sseInterval apart.
	sseChanges  = 4
	sseWindow   = 24 * time.Hour
	sseInterval = 6 * time.Hour
)

// settling returns AWS's error if what was changed less than settleTime ago; end is what ends the sentence.
func (s *Service) settling(what string, changed int64, now time.Time, end string) error {
	again := time.UnixMilli(changed).Add(settleTime)
	if s.NoChangeLimits || changed == 0 || !now.Before(again) {
		return nil
	}
	return awserr.New(awserr.Throttling, what+" modified within the previous 15000 milliseconds. Please try again after "+instant(again)+end)
}

// instant formats a time as AWS does in most sentences.
func instant(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

// changeProtection turns deletion protection on or off. A request that changes nothing is allowed once the last change has settled.
func (s *Service) changeProtection(t *catalog.Table, on smithy.Opt[bool], now time.Time) error {
	if !on.Set {
		return nil
	}
	if err := s.settling("Deletion protection setting for table "+t.Name, t.ProtectionChanged, now, ""); err != nil {
		return err
	}
	if on.Value != t.DeletionProtection {
		t.DeletionProtection, t.ProtectionChanged = on.Value, now.UnixMilli()
	}
	return nil
}

// changeTableClass changes the table class. Like AWS it counts requests that change nothing against the limit only once that is reached.
func (s *Service) changeTableClass(t *catalog.Table, class smithy.Opt[string], now time.Time, until int64) error {
	if !class.Set {
		return nil
	}
	since := now.Add(-classWindow).UnixMilli()
	t.TableClassChanges = slices.DeleteFunc(t.TableClassChanges, func(at int64) bool { return at <= since })
	if !s.NoChangeLimits && len(t.TableClassChanges) >= classChanges {
		return subscriberLimit("Updates to TableClass are limited to %d times in 30 day(s).", classChanges)
	}
	old := t.TableClass
	if class.Value == old || class.Value == api.TableClassStandard && old == "" {
		return nil
	}
	t.Update = &catalog.Update{Until: until, TableClass: &old, TableClassUpdated: t.TableClassUpdated}
	t.TableClass, t.TableClassUpdated = class.Value, now.UnixMilli()
	t.TableClassChanges = append(t.TableClassChanges, now.UnixMilli())
	return nil
}

// changeSSE changes the key that encrypts the table.
func (s *Service) changeSSE(t *catalog.Table, in *api.SSESpecification, now time.Time, until int64) error {
	if in == nil {
		return nil
	}
	if t.SSEUpdate.Pending(now) {
		return awserr.StillInUse("Server-Side Encryption is still being updated")
	}
	start := now.Add(-sseWindow).UnixMilli()
	if n := len(t.SSEChanges); n > 0 && t.SSEChanges[0] <= start {
		t.SSEChanges = nil
	}
	if n := len(t.SSEChanges); n >= sseChanges && !s.NoChangeLimits {
		last := time.UnixMilli(t.SSEChanges[n-1])
		if again := last.Add(sseInterval); now.Before(again) {
			return subscriberLimit("Encryption mode changes are limited in the 24h window ending at %s. After the first %d change, each subsequent change in the same window can be performed at most once every %d seconds. Number of updates today: %d. Last change at %s. Next changes can be made at %s.",
				instant(time.UnixMilli(t.SSEChanges[0]).Add(sseWindow)), sseChanges, int(sseInterval.Seconds()), n, instant(last), instant(again))
		}
	}
	key, err := newSSEKey(t, in)
	switch old := t.SSEKey; {
	case err != nil:
		return err
	case key == "" && old == "":
		return awserr.Invalid("Table is already encrypted by default")
	case key == old && strings.HasPrefix(in.KMSMasterKeyId.Value, "arn:") && in.KMSMasterKeyId.Value == old:
		return awserr.Invalid("Table is already encrypted with given KMSMasterKeyId. Use KMSMasterKeyId parameter if you want to change Master Key")
	default: // also with the same key, unless it is given by its ARN: AWS encrypts the table again
		t.SSEUpdate = &catalog.Update{Until: until, SSEKey: &old}
		t.SSEKey = key
		t.SSEChanges = append(t.SSEChanges, now.UnixMilli())
	}
	return nil
}

// describeSSE describes the table's encryption at a time; nil is that with the key that AWS owns. A change shows the old key first and
// then the new one, both as UPDATING. fresh means the answer to the change.
func (s *Service) describeSSE(t *catalog.Table, now time.Time, fresh bool) *api.SSEDescription {
	key, status := t.SSEKey, api.SSEStatusEnabled
	changing := t.SSEUpdate != nil && (fresh || t.SSEUpdate.Pending(now))
	if changing {
		status = api.SSEStatusUpdating
		if fresh || now.Add(s.TransientStatus/2).UnixMilli() < t.SSEUpdate.Until {
			key = *t.SSEUpdate.SSEKey
		}
	}
	if key == "" && changing {
		return &api.SSEDescription{Status: smithy.Some(status)}
	}
	return sseDescription(status, key)
}

// sseDescription describes encryption with a key; nil is that with the key that AWS owns.
func sseDescription(status, key string) *api.SSEDescription {
	if key == "" {
		return nil
	}
	return &api.SSEDescription{Status: smithy.Some(status), SSEType: smithy.Some(api.SSETypeKms), KMSMasterKeyArn: smithy.Some(key)}
}
