package autoscaling

import (
	"testing"
	"time"
)

// TestScheduleBounds refuses numbers that would overflow in the cron library.
func TestScheduleBounds(t *testing.T) {
	for _, text := range []string{
		"cron(1/9223372036854775807 * * * ? *)", "cron(1-59/9223372036854775806 * * * ? *)", "cron(0 0 1/0 * ? *)", "cron(0 0 -1/5 * ? *)", "cron(0 0 * * ? 1970/99999)",
	} {
		if _, err := parseSchedule(text, ""); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
	for _, text := range []string{
		"cron(0 10 * * ? *)", "cron(15 12 * * ? *)", "cron(0 18 ? * MON-FRI *)", "cron(0/5 8-17 ? * MON-FRI *)", "cron(0 8 1 * ? *)", "cron(0 9 L * ? *)", "cron(0 9 ? * 6L *)", "cron(0 9 ? * 6#3 *)",
		"cron(0 9 3W * ? *)", "cron(0,15,30,45 9 ? JAN-MAR,12 2 2020-2030/2)",
	} {
		if _, err := parseSchedule(text, "Europe/Berlin"); err != nil {
			t.Errorf("%s is refused: %v", text, err)
		}
	}
}

// FuzzSchedule parses schedules and asks whether they are due in a minute.
func FuzzSchedule(f *testing.F) {
	for _, text := range []string{"cron(0 10 * * ? *)", "cron(0/5 8-17 ? * MON-FRI *)", "cron(0 0 L * ? 2020/9)", "cron(*/7 1-5/2 1W ? 5#3 *)", "rate(1 day)", "at(2020-01-01T00:00:00)"} {
		f.Add(text, int64(1_600_000_000))
	}
	f.Fuzz(func(_ *testing.T, text string, at int64) {
		if s, err := parseSchedule(text, ""); err == nil {
			at = min(max(at, 0), 1<<33)
			s.due(time.Unix(0, 0), time.Unix(at-at%60, 0))
		}
	})
}
