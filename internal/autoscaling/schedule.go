package autoscaling

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adhocore/gronx"
	"github.com/google/uuid"

	"github.com/statordb/stator/internal/autoscaling/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
)

// scheduled is a scheduled action. Actions are immutable: a change replaces the whole value. The JSON form is the stored one.
type scheduled struct {
	Resource
	Name, UUID     string
	Schedule       string
	Timezone       string `json:",omitempty"`
	Start, End     int64  // milliseconds since 1970; 0 if it isn't given
	Created        int64
	Min, Max       int64
	HasMin, HasMax bool
	// Broken says why the action is not run until it is replaced: running it has panicked. It is empty for a healthy action.
	Broken string `json:",omitempty"`
}

// arn returns the action's Amazon Resource Name.
func (a *scheduled) arn() string {
	return "arn:aws:autoscaling:" + a.Region + ":" + a.Account + ":scheduledAction:" + a.UUID + ":resource/dynamodb/" + a.ID + ":scheduledActionName/" + a.Name
}

// schedule says in which minutes an action is due. One of at, interval and cron is set.
type schedule struct {
	at       time.Time     // time of at(…)
	interval time.Duration // period of rate(…)
	cron     string        // cron(…) with seven fields, in the library's syntax
	location *time.Location
}

var rateText = regexp.MustCompile(`^rate\(\s*(\d+)\s+(minutes?|hours?|days?)\s*\)$`)

// parseSchedule parses at(…), rate(…) or cron(…) ("PutScheduledAction").
func parseSchedule(text, zone string) (*schedule, error) {
	bad := invalid("Invalid schedule expression: %s", text)
	s := &schedule{location: time.UTC}
	if zone != "" {
		var err error
		if s.location, err = time.LoadLocation(zone); err != nil || zone == "Local" { // Go's Local is the server's zone, not a zone's name
			return nil, invalid("Invalid timezone: %s", zone)
		}
	}
	inner := func(name string) (string, bool) {
		rest, ok := strings.CutPrefix(text, name+"(")
		return strings.TrimSuffix(rest, ")"), ok && strings.HasSuffix(rest, ")")
	}
	if at, ok := inner("at"); ok {
		t, err := time.ParseInLocation("2006-01-02T15:04:05", at, s.location)
		if err != nil {
			return nil, bad
		}
		s.at = t
		return s, nil
	}
	if m := rateText.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		unit := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[m[2][0]]
		if err != nil || n < 1 || n > 1_000_000 {
			return nil, bad
		}
		s.interval = time.Duration(n) * unit
		return s, nil
	}
	fields, ok := inner("cron")
	parts := strings.Fields(fields)
	if !ok || len(parts) != 6 {
		return nil, bad
	}
	day, weekday := parts[2], parts[4]
	if (day == "?") == (weekday == "?") && day != "*" && weekday != "*" { // exactly one of the two must be ?, unless one is *
		return nil, bad
	}
	if slices.ContainsFunc(parts, func(field string) bool { return !isCronField(field) }) {
		return nil, bad
	}
	if weekday, ok = cronWeekday(weekday); !ok {
		return nil, bad
	}
	if day == "?" {
		day = "*"
	}
	s.cron = strings.Join([]string{"0", parts[0], parts[1], day, parts[3], weekday, parts[5]}, " ") // the library's first field is seconds
	if !gronx.IsValid(s.cron) {
		return nil, bad
	}
	return s, nil
}

// cronPart matches an element of a field ("Cron expressions", of EventBridge): a value or range, optionally with a step; the weekday
// nearest to a day; the last or n-th of a weekday.
var cronPart = regexp.MustCompile(`^(?:(?:\*|\?|L|[A-Za-z]{3}|\d{1,4})(?:-(?:[A-Za-z]{3}|\d{1,4}))?(?:/[1-9]\d{0,3})?|\d{1,2}W|LW|(?:[A-Za-z]{3}|\d)(?:L|#[1-5]))$`)

// isCronField reports whether the library handles a field in bounded time. The library counts up to any end by any step, and overflows.
func isCronField(field string) bool {
	const most = 64 // elements: there are 60 minutes
	list := strings.SplitN(field, ",", most+1)
	return len(list) <= most && !slices.ContainsFunc(list, func(part string) bool { return !cronPart.MatchString(part) })
}

var weekdayNumber = regexp.MustCompile(`\d+`)

// cronWeekday converts days of the week from AWS's numbers, 1 for Sunday, to the library's, 0 for Sunday. Numbers behind # or / are not
// days.
func cronWeekday(text string) (string, bool) {
	if text == "?" || text == "*" {
		return "*", true
	}
	ok := true
	var b strings.Builder
	for i, part := range strings.Split(text, ",") {
		if i > 0 {
			b.WriteByte(',')
		}
		days, rest := part, ""
		if at := strings.IndexAny(part, "#/"); at >= 0 {
			days, rest = part[:at], part[at:]
		}
		b.WriteString(weekdayNumber.ReplaceAllStringFunc(days, func(number string) string {
			n, err := strconv.Atoi(number)
			if err != nil || n < 1 || n > 7 {
				ok = false
			}
			return strconv.Itoa(n - 1)
		}))
		b.WriteString(rest)
	}
	return b.String(), ok
}

// due reports whether a schedule that began at a time is due in a minute.
func (s *schedule) due(begin, minute time.Time) bool {
	switch {
	case !s.at.IsZero():
		return s.at.Truncate(time.Minute).Equal(minute)
	case s.interval > 0:
		begin = begin.Truncate(time.Minute)
		return minute.After(begin) && minute.Sub(begin)%s.interval == 0
	}
	due, err := gronx.New().IsDue(s.cron, minute.In(s.location))
	return due && err == nil
}

// putScheduledAction creates or changes a scheduled action. Members that a change leaves out keep their values.
func (s *Service) putScheduledAction(ctx context.Context, call *smithy.Call, in *api.PutScheduledActionRequest) (*api.PutScheduledActionResponse, error) {
	r, err := s.resource(call, in.ServiceNamespace.Value, in.ResourceId.Value, in.ScalableDimension.Value)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.targets.Get(r.record("")) == nil {
		return nil, notRegistered(&r)
	}
	next := &scheduled{Resource: r, Name: in.ScheduledActionName.Value, UUID: uuid.NewString(), Created: s.Now().UnixMilli()}
	if old := s.actions.Get(r.record(next.Name)); old != nil {
		*next = *old // members that aren't given keep their values
		next.Broken = ""
	} else if len(s.actions.Under(r.record(""))) >= maxActions {
		return nil, errLimit
	} else if !in.Schedule.Set {
		return nil, invalid("Schedule is required for a new scheduled action")
	}
	if in.Schedule.Set {
		next.Schedule = in.Schedule.Value
	}
	if in.Timezone.Set {
		next.Timezone = in.Timezone.Value
	}
	if in.StartTime.Set {
		next.Start = millis(in.StartTime.Value)
	}
	if in.EndTime.Set {
		next.End = millis(in.EndTime.Value)
	}
	if a := in.ScalableTargetAction; a != nil {
		next.Min, next.HasMin, next.Max, next.HasMax = a.MinCapacity.Value, a.MinCapacity.Set, a.MaxCapacity.Value, a.MaxCapacity.Set
	}
	parsed, err := parseSchedule(next.Schedule, next.Timezone)
	switch {
	case err != nil:
		return nil, err
	case next.Start != 0 && next.End != 0 && next.Start >= next.End:
		return nil, invalid("Start time must be before end time")
	case !parsed.at.IsZero() && parsed.at.Before(s.Now().Truncate(time.Minute)) && in.Schedule.Set:
		return nil, invalid("Schedule is in the past")
	case !next.HasMin && !next.HasMax:
		return nil, invalid("At least one of MinCapacity and MaxCapacity is required in ScalableTargetAction")
	case next.HasMin && next.HasMax && next.Min > next.Max:
		return nil, invalid("Maximum capacity cannot be less than minimum capacity")
	}
	return &api.PutScheduledActionResponse{}, s.actions.Put(ctx, r.record(next.Name), next)
}

func (s *Service) deleteScheduledAction(ctx context.Context, call *smithy.Call, in *api.DeleteScheduledActionRequest) (*api.DeleteScheduledActionResponse, error) {
	r, err := s.resource(call, in.ServiceNamespace.Value, in.ResourceId.Value, in.ScalableDimension.Value)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.record(in.ScheduledActionName.Value)
	if s.actions.Get(id) == nil {
		return nil, awserr.New(objectNotFound, "No scheduled action found for service namespace: dynamodb, resource ID: "+r.ID+", scalable dimension: "+r.Dimension+", scheduled action name: "+in.ScheduledActionName.Value)
	}
	return &api.DeleteScheduledActionResponse{}, s.actions.Remove(ctx, id)
}

func (s *Service) describeScheduledActions(_ context.Context, call *smithy.Call, in *api.DescribeScheduledActionsRequest) (*api.DescribeScheduledActionsResponse, error) {
	f, err := newFilter(in.ServiceNamespace.Value, in.ResourceId.Value, in.ScalableDimension)
	if err != nil {
		return nil, err
	}
	named := setOf(in.ScheduledActionNames)
	found, next, err := page(s.actions.List(s.Namespace(call.Caller)), func(a *scheduled) bool {
		return f.has(&a.Resource) && named(a.Name)
	}, func(a *scheduled) string { return a.ID + " " + a.Dimension + " " + a.Name }, in.NextToken, in.MaxResults, 50)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeScheduledActionsResponse{ScheduledActions: []api.ScheduledAction{}, NextToken: next}
	for _, a := range found {
		out.ScheduledActions = append(out.ScheduledActions, api.ScheduledAction{
			ScheduledActionName: smithy.Some(a.Name), ScheduledActionARN: smithy.Some(a.arn()), ServiceNamespace: smithy.Some("dynamodb"),
			Schedule: smithy.Some(a.Schedule), Timezone: smithy.Opt[string]{Value: a.Timezone, Set: a.Timezone != ""},
			ResourceId: smithy.Some(a.ID), ScalableDimension: smithy.Some(a.Dimension), CreationTime: smithy.Some(float64(a.Created) / 1000),
			StartTime: smithy.Opt[float64]{Value: float64(a.Start) / 1000, Set: a.Start != 0}, EndTime: smithy.Opt[float64]{Value: float64(a.End) / 1000, Set: a.End != 0},
			ScalableTargetAction: &api.ScalableTargetAction{
				MinCapacity: smithy.Opt[int64]{Value: a.Min, Set: a.HasMin}, MaxCapacity: smithy.Opt[int64]{Value: a.Max, Set: a.HasMax},
			},
		})
	}
	return out, nil
}

// millis converts a timestamp from seconds to milliseconds, clamped to the years 1 to 9999.
func millis(seconds float64) int64 {
	return int64(min(max(seconds, -62135596800), 253402300799) * 1000)
}

// dueActions returns the scheduled actions that are due in a minute, in a fixed order.
func (s *Service) dueActions(minute time.Time) []*scheduled {
	var out []*scheduled
	ms := minute.UnixMilli()
	for _, a := range s.actions.All() {
		if a.Broken != "" {
			continue
		}
		parsed, err := parseSchedule(a.Schedule, a.Timezone)
		if err != nil || a.Start != 0 && ms < a.Start || a.End != 0 && ms > a.End {
			continue // it was valid when it was stored, but a time zone may have disappeared since
		}
		begin := a.Created
		if a.Start != 0 {
			begin = a.Start
		}
		if parsed.due(time.UnixMilli(begin), minute) {
			out = append(out, a)
		}
	}
	return out
}

// runAction applies a scheduled action's bounds to its target. s.mu is held.
func (s *Service) runAction(ctx context.Context, a *scheduled, at time.Time) error {
	t := s.targets.Get(a.record(""))
	if t == nil || t.Suspended.Scheduled {
		return nil
	}
	least, most := t.Min, t.Max
	var set []string
	if a.HasMin {
		least = a.Min
		set = append(set, fmt.Sprintf("min capacity to %d", a.Min))
	}
	if a.HasMax {
		most = a.Max
		set = append(set, fmt.Sprintf("max capacity to %d", a.Max))
	}
	note := newActivity(&a.Resource, at)
	what := strings.Join(set, " and ")
	note.Description, note.Cause = "Setting "+what, "scheduled action name "+a.Name+" was triggered"
	if least > most {
		note.Status, note.Message = "Failed", "Failed to set "+what+". Reason: Maximum capacity cannot be less than minimum capacity"
		return s.note(ctx, note)
	}
	note.Status, note.Message = "Successful", "Successfully set "+what
	if err := s.note(ctx, note); err != nil {
		return err
	}
	if _, err := s.targets.Change(ctx, t.record(""), func(t *target) error { t.Min, t.Max = least, most; return nil }); err != nil {
		return err
	}
	return s.enforceBounds(ctx, a.Resource)
}
