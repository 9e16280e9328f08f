package ops

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/faults"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/smithy/smithytest"
)

// TestCases runs the cases in testdata. Each file is a session with a new, empty service whose clock stands still.
//
// Commands:
//
//	open [shared] [no-limits] [inject=RULE]
//		opens the service again, empty, with these options
//
//	advance DURATION
//		moves the clock
//
//	OPERATION [as=ACCOUNT] [in=REGION]
//	{…}
//		calls an operation, by default as account 111111111111 in us-west-2, and prints the answer, or the exception and its message.
//		<id> and <time> stand for what differs between runs
func TestCases(t *testing.T) {
	datadriven.Walk(t, "testdata/cases", func(t *testing.T, path string) {
		now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
		clock := func() time.Time { return now }
		s := open(t, Options{Now: clock})
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "open":
				opt := Options{Now: clock, SharedNamespace: d.HasArg("shared"), NoChangeLimits: d.HasArg("no-limits")}
				if d.HasArg("inject") {
					var rule string
					d.ScanArgs(t, "inject", &rule)
					var err error
					if opt.Faults, err = faults.Parse([]string{rule}, 1); err != nil {
						d.Fatalf(t, "%v", err)
					}
				}
				s = open(t, opt)
				return ""
			case "advance":
				by, err := time.ParseDuration(d.CmdArgs[0].Key)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				now = now.Add(by)
				return ""
			}
			caller := smithy.Caller{Account: "111111111111", Region: "us-west-2", Verified: true}
			d.MaybeScanArgs(t, "as", &caller.Account)
			d.MaybeScanArgs(t, "in", &caller.Region)
			return answer(t, s, caller, d)
		})
	})
}

// answer calls an operation and prints what a client sees of it.
func answer(t *testing.T, s *service, caller smithy.Caller, d *datadriven.TestData) string {
	var out json.RawMessage
	err := smithytest.Do(t.Context(), s.handlers, caller, d.Cmd, json.RawMessage(d.Input), &out)
	var e *awserr.Error
	switch {
	case errors.As(err, &e):
		text := string(e.Code) + ": " + e.Message
		if len(e.Fields) > 0 {
			text += "\n" + string(e.Fields)
		}
		return stable(text) + "\n"
	case err != nil:
		d.Fatalf(t, "%v", err)
	}
	return stable(string(out)) + "\n"
}

var unstable = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{14}-[0-9a-f]{8}|20\d\d-\d\d-\d\dT[0-9:.]+|1\.79\d+E9|179\d{7}(\.\d+)?`)

// stable replaces ids and times.
func stable(text string) string {
	return unstable.ReplaceAllStringFunc(text, func(m string) string {
		if strings.Contains(m, "-") && !strings.Contains(m, "T") {
			return "<id>"
		}
		return "<time>"
	})
}
