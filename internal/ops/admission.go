package ops

import (
	"strings"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
)

// While a change is under way, AWS refuses some other changes, each pair with a sentence of its own. Only with --transient-status do
// changes take time.

// admitUpdate returns AWS's error if what the table is busy with refuses the request.
func (s *Service) admitUpdate(t *catalog.Table, in *api.UpdateTableInput, now time.Time) error {
	switch t.Status(now) {
	case catalog.Creating:
		if t.Restoring() {
			return awserr.TableNotFound(t.Name)
		}
		return awserr.TableBusy("created", t.Name)
	case catalog.Deleting:
		return awserr.TableBusy("deleted", t.Name)
	case catalog.Active:
		return nil
	}
	iops := in.ProvisionedThroughput != nil || in.BillingMode.Set && (in.BillingMode.Value == api.BillingModePayPerRequest) != t.OnDemandBilling
	online := jobOf(in) == catalog.JobIndexCreate || jobOf(in) == catalog.JobIndexDelete
	var reason string
	switch t.Job {
	case catalog.JobThroughput:
		reason = busyThroughput(t, in, iops, online)
	case catalog.JobStream:
		reason = busyStream(t, in, iops, online)
	case catalog.JobTableClass:
		reason = busyTableClass(t, in, iops, online)
	default:
		reason = busyIndex(t, in, iops)
	}
	if reason == "" {
		return nil
	}
	return awserr.StillInUse(reason)
}

// The functions below return the reason why a job refuses a request, or "". iops means that the request changes throughput or billing
// mode, and online that it creates or deletes an index.

func busyThroughput(t *catalog.Table, in *api.UpdateTableInput, iops, online bool) string {
	switch {
	case iops:
		return "Table IOPS are currently being updated. Table: " + t.Name
	case in.StreamSpecification != nil:
		return "Can't enable or disable stream while table IOPS are being updated. Table: " + t.Name
	case in.TableClass.Set:
		return "Can't update table class when table IOPS are being updated. Table: " + t.Name
	case in.OnDemandThroughput != nil:
		return "OnDemandThroughput cannot be updated while BillingMode update is in progress"
	case online:
		return "Can't create or delete indexes while table IOPS are being updated. Table: " + t.Name
	}
	return ""
}

func busyStream(t *catalog.Table, in *api.UpdateTableInput, iops, online bool) string {
	operation := "DISABLE"
	if t.Stream.Active() {
		operation = "ENABLE"
	}
	of := " Table: " + t.Name + " Stream: " + t.Stream.Label + " Operation: " + operation
	switch {
	case in.StreamSpecification != nil:
		return "A stream status change is currently in progress." + of
	case iops:
		return "Can't change table IOPS when stream status is being updated." + of
	case in.TableClass.Set:
		return "Can't update table class when stream status is being updated." + of
	case in.OnDemandThroughput != nil:
		return "OnDemandThroughput cannot be updated while stream status update is in progress." + of
	case online:
		return "Can't create or delete an index when stream status is being updated." + of
	}
	return ""
}

func busyTableClass(t *catalog.Table, in *api.UpdateTableInput, iops, online bool) string {
	progress := "TableClassUpdateInProgress: " + t.TableClass
	of := " Table: " + t.Name + " " + progress
	switch {
	case in.TableClass.Set:
		return "Can't update table class when a table class update is in progress." + of
	case in.StreamSpecification != nil:
		return "Can't change stream status when a table class update is in progress." + of
	case iops:
		return "Can't change table IOPS when a table class update is in progress." + of
	case in.OnDemandThroughput != nil:
		return "OnDemandThroughput cannot be updated while TableClass update is in progress. " + progress
	case online:
		return "Can't create or delete an index when a table class update is in progress." + of
	}
	return ""
}

func busyIndex(t *catalog.Table, in *api.UpdateTableInput, iops bool) string {
	state, doing, noun := catalog.Creating, "created", "creation"
	if t.Job == catalog.JobIndexDelete {
		state, doing, noun = catalog.Deleting, "deleted", "deletion"
	}
	var names []string
	for _, x := range t.Indexes {
		if x.State == state {
			names = append(names, x.Name)
		}
	}
	indexes := "[" + strings.Join(names, ", ") + "]"
	of := "when an index is being " + doing + ". Table: " + t.Name + " Indexes: " + indexes
	switch {
	case len(names) == 0: // done already
	case iops:
		return "Can't change table IOPS " + of
	case in.StreamSpecification != nil:
		return "Can't change stream status " + of
	case in.TableClass.Set:
		return "Can't update table class " + of
	case in.OnDemandThroughput != nil:
		return "OnDemandThroughput cannot be updated while index " + noun + " is in progress for indexes: " + indexes
	}
	return ""
}

// phase is how far a table is with its creation or deletion.
type phase int

const (
	phaseReady    phase = iota // ACTIVE or UPDATING
	phaseCreating              // CREATING, and its settings can not be changed yet
	phaseUnknown               // CREATING or DELETING, and AWS finds it only by DescribeTable
)

// phaseOf returns the table's phase. A new table is unknown to most operations during the first half of CREATING, and one that is being
// restored all the time.
func (s *Service) phaseOf(t *catalog.Table) phase {
	now := s.Now()
	switch t.Status(now) {
	case catalog.Creating:
		if !t.Restoring() && (t.Loading != nil || now.Add(s.TransientStatus/2).UnixMilli() >= t.CreatingUntil) {
			return phaseCreating
		}
		return phaseUnknown
	case catalog.Deleting:
		return phaseUnknown
	}
	return phaseReady
}

// settled returns the error that operations on a table's settings give for a table that is not yet or no longer ready.
func (s *Service) settled(t *catalog.Table) error {
	switch s.phaseOf(t) {
	case phaseCreating:
		return awserr.StillInUse("Table " + t.Name + " is being created")
	case phaseUnknown:
		return awserr.TableNotFound(t.Name)
	}
	return nil
}

// settledForBackup is settled for operations on backups and point-in-time recovery.
func (s *Service) settledForBackup(t *catalog.Table) error {
	switch s.phaseOf(t) {
	case phaseCreating:
		return awserr.New(awserr.BackupsUnavailable, "Backups are being enabled for the table: "+t.Name+". Please retry later")
	case phaseUnknown:
		return awserr.TableNotFoundForBackup(t.Name)
	}
	return nil
}

// admitDelete returns AWS's error if what the table is busy with refuses its deletion.
func (s *Service) admitDelete(t *catalog.Table, now time.Time) error {
	ms := now.UnixMilli()
	switch t.Status(now) {
	case catalog.Creating:
		return awserr.TableBusy("created", t.Name)
	case catalog.Deleting:
		return awserr.TableBusy("deleted", t.Name)
	case catalog.Updating:
		switch t.Job {
		case catalog.JobStream:
			return awserr.StillInUse("Cannot delete table while stream is being enabled/disabled.")
		case catalog.JobIndexCreate, catalog.JobIndexDelete:
		default:
			return awserr.StillInUse("Table: " + t.Name + " is in the process of being updated.")
		}
	}
	switch {
	case t.SSEUpdate.Pending(now) || t.WarmUpdate.Pending(now):
		return awserr.StillInUse("Table: " + t.Name + " is in the process of being updated.")
	case ms < t.TagsBusyUntil:
		return awserr.StillInUse("Table tags are being updated: " + t.Name)
	case ms < t.PolicyBusyUntil:
		return awserr.StillInUse("Table: " + t.Name + " has a pending resource-based policy update.")
	}
	for _, x := range t.Indexes {
		if s.TransientStatus > 0 && x.State != "" || x.Update.Pending(now) {
			return awserr.StillInUse("Cannot delete table while indexes are being created, updated, or deleted.")
		}
	}
	return nil
}
