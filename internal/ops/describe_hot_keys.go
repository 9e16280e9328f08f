package ops

import (
	"context"
	"fmt"
	"strconv"

	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/throttle"
	"github.com/statordb/stator/internal/wirejson"
)

// describeHotKeysOperation is Stator's own operation for `stator hot`.
var describeHotKeysOperation = smithy.Operation[hotKeysInput, hotKeysOutput]{Target: "Stator_20261101.DescribeHotKeys"}

// hotKeysInput is DescribeHotKeys's input.
type hotKeysInput struct{ TableName smithy.Opt[string] }

// Read implements smithy.Shape.
func (v *hotKeysInput) Read(r *wirejson.Reader) bool {
	if !r.BeginObject("class stator.DescribeHotKeysInput") {
		return false
	}
	for {
		name, ok := r.NextField()
		if !ok {
			return r.Err() == nil
		}
		if string(name) == "TableName" {
			v.TableName.Value, v.TableName.Set = r.String()
		} else {
			r.Skip()
		}
	}
}

// Check implements smithy.Shape.
func (v *hotKeysInput) Check(c *smithy.Checker) { c.Required("tableName", v.TableName.Set) }

// hotKeysOutput is the current load on a table and its GSIs.
type hotKeysOutput struct {
	table string
	hot   []metering.Hot
}

// AppendJSON implements smithy.Renderer.
func (v *hotKeysOutput) AppendJSON(b []byte) []byte {
	b = append(b, `{"TableName":`...)
	b = wirejson.AppendString(b, v.table)
	b = append(b, `,"Resources":[`...)
	for i := range v.hot {
		h := &v.hot[i]
		b = wirejson.Sep(b)
		b = append(b, `{"IndexName":`...)
		b = wirejson.AppendString(b, h.Index)
		b = append(b, `,"Partitions":[`...)
		for _, p := range h.Partitions {
			b = wirejson.Sep(b)
			b = append(b, `{"Start":"`+fmt.Sprintf("%08x", p.Start)+`","ReadUnits":`...)
			b = wirejson.AppendFloat(b, p.Units[throttle.Reads])
			b = append(b, `,"WriteUnits":`...)
			b = wirejson.AppendFloat(b, p.Units[throttle.Writes])
			b = append(b, `,"Throttled":`...)
			b = append(strconv.AppendInt(b, p.Throttled, 10), '}')
		}
		b = appendContributors(append(b, `],"Accessed":`...), h.Accessed)
		b = appendContributors(append(b, `,"Throttled":`...), h.Throttled)
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

func appendContributors(b []byte, list []metric.Contributor) []byte {
	b = append(b, '[')
	for _, c := range list {
		b = wirejson.Sep(b)
		b = append(append(b, `{"Key":`...), c.Key...)
		b = append(b, `,"Count":`...)
		b = append(wirejson.AppendFloat(b, c.Count), '}')
	}
	return append(b, ']')
}

func (s *Service) describeHotKeys(_ context.Context, req *Request, in *hotKeysInput) (*hotKeysOutput, error) {
	t, err := s.existing(req, req.table(in.TableName.Value))
	if err != nil {
		return nil, err
	}
	return &hotKeysOutput{table: t.Name, hot: t.Meter.Hot(s.Now())}, nil
}
