package autoscaling

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/smithy/smithytest"
)

// TestAutoScaling runs the cases in testdata. Each file is a session with a new store, whose clock starts at 2024-05-01T00:00:00Z.
//
// Commands:
//
//	table NAME read=UNITS write=UNITS
//		sets the capacity of a table or, as NAME/index/NAME, of a GSI, which is on-demand with 0 units
//
//	drop NAME
//		removes a table or GSI
//
//	refuse
//	[ERROR]
//		makes changes of capacity fail with an error, or succeed again without one
//
//	panic [NAME]
//		makes looking at a table, or at alarms on a metric, panic
//
//	call OPERATION [as=ACCOUNT] [show=MEMBER,…]
//	INPUT
//		calls an operation and prints its answer, or those members of what it lists. The input is JSON; it is about the reads of the table
//		music unless it says otherwise. UUIDs are numbered in the order in which they appear; times and tokens are readable.
//
//	track [NAME] target=N [out=SECONDS] [in=SECONDS] [only-out] [metric=NAME]
//		puts a target tracking policy for the reads of the table music: by consumption, or by a metric's average
//
//	alarm NAME policy=NAME metric=NAME [above=N] [below=N]
//		creates an alarm that goes off by a metric's last minute, and runs a policy for the reads of the table music
//
//	alarms
//		prints all alarms
//
//	minutes [metric=NAME] [also=NAME:VALUE]
//	VALUE [xN]
//	…
//		sets a metric, by default the read units that the table music consumes per second, for one or N minutes; - is no data. also sets
//		another metric, to the same value all the time. It steps through these minutes, and prints what changes, and the table's read units in the end.
//
//	clock at=TIME
//		sets the clock, and steps
//
//	reopen
//		opens the service anew over the same store
//
// <text*n> is n times the text.
func TestAutoScaling(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if strings.Contains(path, "fuzz") {
			t.Skip("the corpus of a fuzz target")
		}
		s := newSession(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			d.Input = smithytest.Expand(d.Input)
			switch d.Cmd {
			case "table":
				name := d.CmdArgs[0].Key
				for dimension, arg := range map[string]string{"ReadCapacityUnits": "read", "WriteCapacityUnits": "write"} {
					var units int64
					d.ScanArgs(t, arg, &units)
					s.units[s.resource(name, dimension)] = units
				}
				return "ok\n"
			case "drop":
				maps.DeleteFunc(s.units, func(r Resource, _ int64) bool { return r.ID == "table/"+d.CmdArgs[0].Key })
				return "ok\n"
			case "refuse":
				s.refusal = d.Input
				return "ok\n"
			case "panic":
				s.broken = ""
				if len(d.CmdArgs) > 0 {
					s.broken = d.CmdArgs[0].Key
				}
				return "ok\n"
			case "call":
				var account, show string
				d.MaybeScanArgs(t, "as", &account)
				d.MaybeScanArgs(t, "show", &show)
				return s.call(t, account, d.CmdArgs[0].Key, d.Input, show)
			case "track":
				return s.track(t, d)
			case "alarm":
				return s.alarm(t, d)
			case "alarms":
				return s.listAlarms()
			case "minutes":
				return s.minutes(t, d)
			case "clock":
				var text string
				d.ScanArgs(t, "at", &text)
				var err error
				if s.clock, err = time.Parse(time.RFC3339, text); err != nil {
					t.Fatal(err)
				}
				s.step()
				return s.happened()
			case "reopen":
				s.open(t)
				return "ok\n"
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

// session is a service, its clock, and the tables, alarms and metrics that it knows. It implements Tables and Watch.
type session struct {
	*Service
	db      kv.Store
	logs    *slog.Logger
	clock   time.Time
	units   map[Resource]int64
	refusal string                       // error of SetCapacity
	broken  string                       // table or metric that panics
	alerts  map[string]*AlarmInfo        // by account, region and name
	values  map[string]map[int64]float64 // of metrics, by the minute since 1970
	uuids   []string                     // in the order in which they appeared
	events  []string                     // what has happened since happened was called
}

func newSession(t *testing.T) *session {
	t.Helper()
	s := &session{
		clock: time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC), units: map[Resource]int64{}, alerts: map[string]*AlarmInfo{}, values: map[string]map[int64]float64{},
		logs: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	db, err := pebblekv.Open(pebblekv.Options{Now: func() time.Time { return s.clock }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s.db = kv.Checked(db)
	s.open(t)
	return s
}

func (s *session) open(t *testing.T) {
	t.Helper()
	var err error
	s.Service, err = New(t.Context(), Options{
		Records: registry.Storage{KV: s.db, Coordinator: cluster.NewSolo(t.Context(), nil)}, Now: func() time.Time { return s.clock }, Tables: s, Watch: watch{s}, Logger: s.logs,
		Namespace: func(c smithy.Caller) (string, string) { return c.Account, "us-east-1" },
	})
	if err != nil {
		t.Fatal(err)
	}
}

const account = "111111111111"

// resource returns the reads or writes of a table or GSI.
func (s *session) resource(name, units string) Resource {
	of := "table"
	if strings.Contains(name, "/index/") {
		of = "index"
	}
	return Resource{account, "us-east-1", "table/" + name, "dynamodb:" + of + ":" + units}
}

// Capacity implements Tables.
func (s *session) Capacity(r *Resource) (int64, bool) {
	if r.ID == "table/"+s.broken {
		panic("broken table")
	}
	units, exists := s.units[*r]
	return units, exists
}

// SetCapacity implements Tables.
func (s *session) SetCapacity(_ context.Context, r *Resource, units int64) error {
	if s.refusal != "" {
		s.event("%ss of %s stay at %d: refused", r.kind(), r.ID, s.units[*r])
		return errors.New(s.refusal)
	}
	s.event("%ss of %s from %d to %d", r.kind(), r.ID, s.units[*r], units)
	s.units[*r] = units
	return nil
}

func (s *session) event(format string, args ...any) {
	s.events = append(s.events, s.clock.Format("2006-01-02 15:04 ")+fmt.Sprintf(format, args...))
}

// happened prints the events since the last time.
func (s *session) happened() string {
	events := s.events
	s.events = nil
	if events == nil {
		return "nothing happens\n"
	}
	return s.stable(strings.Join(events, "\n")) + "\n"
}

// watch implements Watch by a session's alarms and metrics.
type watch struct{ *session }

// PutAlarm implements Watch.
func (w watch) PutAlarm(_ context.Context, account, region string, a *AlarmInfo) error {
	kept := *a
	kept.ARN = "arn:aws:cloudwatch:" + region + ":" + account + ":alarm:" + a.Name
	w.alerts[account+"/"+region+"/"+a.Name] = &kept
	return nil
}

// RemoveAlarms implements Watch.
func (w watch) RemoveAlarms(_ context.Context, account, region string, names []string) error {
	for _, name := range names {
		delete(w.alerts, account+"/"+region+"/"+name)
	}
	return nil
}

// Alarm implements Watch.
func (w watch) Alarm(account, region, name string) *AlarmInfo {
	a := w.alerts[account+"/"+region+"/"+name]
	if a == nil {
		return nil
	}
	if a.Metric.Name == w.broken {
		panic("broken alarm")
	}
	now := *a
	now.Ringing = w.rings(a)
	return &now
}

// rings reports whether all periods of an alarm, which are minutes, have data that breach its threshold.
func (w watch) rings(a *AlarmInfo) bool {
	values := w.values[a.Metric.Key()]
	for i := range a.Periods {
		v, there := values[w.clock.Unix()/60-1-i]
		if !there || a.Less && v >= a.Threshold || !a.Less && v <= a.Threshold {
			return false
		}
	}
	return true
}

// WithAction implements Watch.
func (w watch) WithAction(account, region, action string) (out []*AlarmInfo) {
	for _, key := range slices.Sorted(maps.Keys(w.alerts)) {
		if a := w.alerts[key]; a.Action == action {
			out = append(out, w.Alarm(account, region, a.Name))
		}
	}
	return out
}

// Read implements Watch.
func (w watch) Read(_ context.Context, id *metric.ID, _ string, from, to time.Time, period int64) (out []float64, err error) {
	for at := from.Unix(); at < to.Unix(); at += period {
		if v, there := w.values[id.Key()][at/60]; there {
			out = append(out, v)
		}
	}
	return out, nil
}

// do calls an operation as an account.
func (s *session) do(t *testing.T, account, operation string, in, out any) error {
	t.Helper()
	return smithytest.Do(t.Context(), s.Operations(), smithy.Caller{Account: account}, operation, in, out)
}

// call calls an operation and renders its answer, or some members of what it lists.
func (s *session) call(t *testing.T, as, operation, input, show string) string {
	in := map[string]any{}
	if input != "" {
		input = numberedText.ReplaceAllStringFunc(input, func(m string) string {
			var n int
			if _, err := fmt.Sscanf(m, "uuid-%d", &n); err != nil {
				t.Fatal(err)
			}
			return s.uuids[n-1]
		})
		if err := json.Unmarshal([]byte(input), &in); err != nil {
			t.Fatalf("%s: %v", input, err)
		}
	}
	defaults := map[string]any{"ServiceNamespace": "dynamodb"}
	switch {
	case strings.HasSuffix(operation, "Resource"):
		defaults = nil
	case !strings.HasPrefix(operation, "Describe"):
		defaults["ResourceId"], defaults["ScalableDimension"] = "table/music", "dynamodb:table:ReadCapacityUnits"
	}
	for k, v := range defaults {
		if _, given := in[k]; !given {
			in[k] = v
		}
	}
	if as == "" {
		as = account
	}
	if given, ok := in["NextToken"].(string); ok && strings.HasPrefix(given, "after ") {
		in["NextToken"] = smithy.EncodeToken(strings.TrimPrefix(given, "after "))
	}
	var answer map[string]any
	if err := s.do(t, as, operation, in, &answer); err != nil {
		return s.refused(err)
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(answer)) {
		if name == "NextToken" {
			after, err := base64.StdEncoding.DecodeString(answer[name].(string))
			if err != nil {
				t.Fatal(err)
			}
			answer[name] = "after " + string(after)
		}
		list, ok := answer[name].([]any)
		if !ok {
			fmt.Fprintf(&out, "%s: %s\n", name, text(t, answer[name]))
			continue
		}
		if len(list) == 0 {
			fmt.Fprintf(&out, "no %s\n", name)
		}
		for _, v := range list {
			if members, ok := v.(map[string]any); ok && show != "" {
				maps.DeleteFunc(members, func(name string, _ any) bool { return !slices.Contains(strings.Split(show, ","), name) })
			}
			fmt.Fprintln(&out, text(t, v))
		}
	}
	return s.stable(out.String()) + s.rest() + "ok\n"
}

// rest prints the events since the last time, if there are any.
func (s *session) rest() string {
	if s.events == nil {
		return ""
	}
	return s.happened()
}

// refused renders an error.
func (s *session) refused(err error) string {
	if e, ok := errors.AsType[*awserr.Error](err); ok {
		return s.stable(string(e.Code)+": "+e.Message) + "\n"
	}
	return err.Error() + "\n"
}

// text renders a value as JSON, with readable times.
func text(t *testing.T, v any) string {
	if members, ok := v.(map[string]any); ok {
		for name, v := range members {
			if seconds, ok := v.(float64); ok && strings.HasSuffix(name, "Time") {
				members[name] = time.UnixMilli(int64(seconds * 1000)).UTC().Format(time.RFC3339)
			}
		}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

var numberedText = regexp.MustCompile(`uuid-\d+`)

var uuidText = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// stable numbers the UUIDs in a text, and shortens it.
func (s *session) stable(text string) string {
	return smithytest.Shorten(uuidText.ReplaceAllStringFunc(text, func(id string) string {
		if !slices.Contains(s.uuids, id) {
			s.uuids = append(s.uuids, id)
		}
		return fmt.Sprint("uuid-", slices.Index(s.uuids, id)+1)
	}))
}

// track puts a target tracking policy.
func (s *session) track(t *testing.T, d *datadriven.TestData) string {
	config := map[string]any{"PredefinedMetricSpecification": map[string]any{"PredefinedMetricType": "DynamoDBReadCapacityUtilization"}}
	name := "follow"
	for _, arg := range d.CmdArgs {
		if len(arg.Vals) == 0 {
			if arg.Key == "only-out" {
				config["DisableScaleIn"] = true
			} else {
				name = arg.Key
			}
			continue
		}
		value := arg.Vals[0]
		switch arg.Key {
		case "target":
			config["TargetValue"] = json.Number(value)
		case "out":
			config["ScaleOutCooldown"] = json.Number(value)
		case "in":
			config["ScaleInCooldown"] = json.Number(value)
		case "metric":
			delete(config, "PredefinedMetricSpecification")
			config["CustomizedMetricSpecification"] = map[string]any{"Namespace": "Own", "MetricName": value, "Statistic": "Average"}
		default:
			d.Fatalf(t, "unknown argument %s", arg.Key)
		}
	}
	raw, err := json.Marshal(map[string]any{"PolicyName": name, "PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": config})
	if err != nil {
		t.Fatal(err)
	}
	answer := s.call(t, "", "PutScalingPolicy", string(raw), "")
	if strings.HasSuffix(answer, "ok\n") {
		return "ok\n"
	}
	return answer
}

// own returns the ID of a metric of the user's.
func own(name string) metric.ID {
	return metric.ID{Account: account, Region: "us-east-1", Namespace: "Own", Name: name}
}

// alarm creates an alarm that runs a policy.
func (s *session) alarm(t *testing.T, d *datadriven.TestData) string {
	var policy, name string
	d.ScanArgs(t, "policy", &policy)
	d.ScanArgs(t, "metric", &name)
	a := &AlarmInfo{Name: d.CmdArgs[0].Key, Metric: own(name), Stat: "Average", Period: 60, Periods: 1, Less: d.HasArg("below")}
	d.MaybeScanArgs(t, "above", &a.Threshold)
	d.MaybeScanArgs(t, "below", &a.Threshold)
	r := s.resource("music", "ReadCapacityUnits")
	p := s.policies.Get(r.record(policy))
	if p == nil {
		return "no such policy\n"
	}
	a.Action = p.arn()
	if err := (watch{s}).PutAlarm(t.Context(), account, "us-east-1", a); err != nil {
		t.Fatal(err)
	}
	return "ok\n"
}

func (s *session) listAlarms() string {
	var out []string
	for _, a := range s.alerts {
		comparison := ">"
		if a.Less {
			comparison = "<"
		}
		out = append(out, s.stable(fmt.Sprintf("%s: %s of %s %s %v, %d × %d s", a.Name, a.Stat, a.Metric.Name, comparison, a.Threshold, a.Periods, a.Period)))
	}
	if out == nil {
		return "none\n"
	}
	slices.Sort(out)
	return strings.Join(out, "\n") + "\n"
}

// minutes sets a metric and steps through the minutes.
func (s *session) minutes(t *testing.T, d *datadriven.TestData) string {
	r := s.resource("music", "ReadCapacityUnits")
	id, scale := r.metric("ConsumedReadCapacityUnits"), 60.0 // per minute
	if name := ""; d.MaybeScanArgs(t, "metric", &name) {
		id, scale = own(name), 1
	}
	values := s.values[id.Key()]
	if values == nil {
		values = map[int64]float64{}
		s.values[id.Key()] = values
	}
	also, steady := map[int64]float64{}, 0.0
	if arg := ""; d.MaybeScanArgs(t, "also", &arg) {
		name, value, _ := strings.Cut(arg, ":")
		id := own(name)
		if s.values[id.Key()] == nil {
			s.values[id.Key()] = also
		}
		also = s.values[id.Key()]
		if _, err := fmt.Sscan(value, &steady); err != nil {
			d.Fatalf(t, "%s: %v", arg, err)
		}
	}
	for _, line := range strings.Split(d.Input, "\n") {
		word, times, _ := strings.Cut(line, " x")
		n := 1
		if times != "" {
			if _, err := fmt.Sscan(times, &n); err != nil {
				d.Fatalf(t, "%s: %v", line, err)
			}
		}
		for range n {
			if word != "-" {
				var v float64
				if _, err := fmt.Sscan(word, &v); err != nil {
					d.Fatalf(t, "%s: %v", line, err)
				}
				values[s.clock.Unix()/60] = v * scale
			}
			also[s.clock.Unix()/60] = steady
			s.clock = s.clock.Add(time.Minute)
			s.step()
		}
	}
	s.event("%d units", s.units[r])
	return s.happened()
}

// step runs Step, whose error is an event.
func (s *session) step() {
	if err := s.Step(context.Background(), s.clock); err != nil {
		s.event("error: %v", err)
	}
}
