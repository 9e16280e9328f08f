package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/statordb/stator/internal/partiql"
	"github.com/statordb/stator/internal/wirejson"
)

// maxShown is the largest size in bytes of what an event shows of a request, or of an answer, as sent. Beyond it, nothing is shown ("CloudTrail
// record contents for management, data, and network activity events").
const maxShown = 100 << 10

var (
	errTooMuch   = errors.New("the content exceeds 100 KB")
	errMalformed = errors.New("the content is not the JSON of the operation")
)

// hidden stands for a value that is not shown.
const hidden = "***(Redacted)"

// renderer makes the shown part of a message. Its memory is bounded by maxShown, whatever the message has.
type renderer struct {
	left int // bytes that may still be shown
	// keyOf returns the names of a table's key attributes, or nil.
	keyOf func(table string) []string
}

// structure returns the members of a structure that may be shown, with CloudTrail's names.
func (r *renderer) structure(raw []byte, shown members) (map[string]any, error) {
	out := map[string]any{}
	table := ""
	if _, ok := shown["Item"]; ok { // the table says which attributes are its key, and may come last
		table, _ = stringMember(raw, "TableName")
	}
	err := fields(raw, func(name string, value []byte) error {
		m, ok := shown[name]
		if !ok || string(value) == "null" {
			return nil
		}
		return r.member(out, name, value, m, table)
	})
	return out, err
}

// member adds a member to out.
func (r *renderer) member(out map[string]any, name string, raw []byte, m member, table string) (err error) {
	switch name = lower(name); m.form {
	case whole:
		out[name], err = r.whole(raw, true)
	case names:
		out[name], err = r.whole(raw, false)
	case key:
		out[name], err = r.key(raw, nil)
	case item:
		err = r.item(out, name, raw, table)
	case statement:
		out[name], err = r.statement(raw)
	case statements:
		out["requestItems"], err = r.list(raw, func(raw []byte) (any, error) { return r.structure(raw, statementMembers) })
	case gets:
		out["requestItems"], err = r.gets(raw)
	case writes:
		out["requestItems"], err = r.writes(raw)
	case transact:
		out["requestItems"], err = r.list(raw, r.action)
	case parts:
		if len(raw) > 0 && raw[0] == '[' {
			out[name], err = r.list(raw, func(raw []byte) (any, error) { return r.structure(raw, m.parts) })
		} else {
			out[name], err = r.structure(raw, m.parts)
		}
	}
	return err
}

// take accounts for bytes that are shown.
func (r *renderer) take(bytes int) error {
	if r.left -= bytes + 8; r.left < 0 { // each value costs something, also if it is empty
		return errTooMuch
	}
	return nil
}

// whole returns a value, with CloudTrail's names if its objects are structures.
func (r *renderer) whole(raw []byte, structures bool) (v any, err error) {
	if err := r.take(len(raw)); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, errMalformed
	}
	if structures {
		v = renamed(v)
	}
	return v, nil
}

// renamed gives the members of structures CloudTrail's names.
func renamed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, value := range v {
			out[lower(name)] = renamed(value)
		}
		return out
	case []any:
		for i := range v {
			v[i] = renamed(v[i])
		}
	}
	return v
}

// lower returns a member's name as CloudTrail writes it: tableName for TableName, sSESpecification for SSESpecification.
func lower(name string) string {
	first, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToLower(first)) + name[size:]
}

// key returns the names and values of a primary key. only limits it to some attributes, if it isn't nil.
func (r *renderer) key(raw []byte, only []string) (map[string]any, error) {
	out := map[string]any{}
	err := fields(raw, func(name string, value []byte) error {
		if only != nil && !slices.Contains(only, name) {
			return nil
		}
		if err := r.take(len(name) + len(value)); err != nil {
			return err
		}
		out[name] = scalar(value)
		return nil
	})
	return out, err
}

// scalar returns the text of a key's value, {"S": "text"}, {"N": "1"} or {"B": "Base64"}. Other values can't be in a key.
func scalar(raw []byte) string {
	var v map[string]any
	if json.Unmarshal(raw, &v) == nil && len(v) == 1 {
		for kind, value := range v {
			if text, ok := value.(string); ok && (kind == "S" || kind == "N" || kind == "B") {
				return text
			}
		}
	}
	return hidden
}

// item adds the names of an item's attributes, and its primary key.
func (r *renderer) item(out map[string]any, name string, raw []byte, table string) error {
	attributes := []string{}
	err := fields(raw, func(attribute string, _ []byte) error {
		attributes = append(attributes, attribute)
		return r.take(len(attribute))
	})
	if err != nil {
		return err
	}
	out[name] = attributes
	if schema := r.keyOf(table); schema != nil {
		out["key"], err = r.key(raw, schema)
	}
	return err
}

// statementMembers are those of a statement in a batch or transaction.
var statementMembers = members{
	"Statement": {form: statement}, "ConsistentRead": {form: whole}, "ReturnValuesOnConditionCheckFailure": {form: whole},
}

func (r *renderer) statement(raw []byte) (string, error) {
	text, err := r.whole(raw, false)
	if err != nil {
		return "", err
	}
	s, ok := text.(string)
	if !ok {
		return "", errMalformed
	}
	shown, _ := partiql.Redact(s)
	return shown, nil
}

// actionMembers are those of the actions of a transaction or batch.
var actionMembers = members{
	"TableName": {form: whole}, "Key": {form: key}, "Item": {form: item}, "UpdateExpression": {form: whole}, "ConditionExpression": {form: whole},
	"ProjectionExpression": {form: whole}, "ExpressionAttributeNames": {form: names}, "ReturnValuesOnConditionCheckFailure": {form: whole},
}

// action returns an action of a transaction, {"Put": {…}}.
func (r *renderer) action(raw []byte) (any, error) {
	var out map[string]any
	err := fields(raw, func(name string, value []byte) (err error) {
		if out, err = r.structure(value, actionMembers); err == nil {
			err = r.take(len(name))
		}
		out["operation"] = strings.Clone(name)
		rename(out, "item", "items")
		return err
	})
	return out, err
}

// rename moves a value to another name, if there is one.
func rename(m map[string]any, from, to string) {
	if v, ok := m[from]; ok {
		m[to] = v
		delete(m, from)
	}
}

// gets returns the RequestItems of BatchGetItem, one entry per key.
func (r *renderer) gets(raw []byte) (any, error) {
	out := []any{}
	err := fields(raw, func(table string, value []byte) error {
		keys, err := memberOf(value, "Keys")
		if err != nil {
			return err
		}
		return elements(keys, func(raw []byte) error {
			shown, err := r.key(raw, nil)
			out = append(out, map[string]any{"tableName": table, "key": shown})
			return errors.Join(err, r.take(len(table)))
		})
	})
	return out, err
}

// writes returns the RequestItems of BatchWriteItem, one entry per request.
func (r *renderer) writes(raw []byte) (any, error) {
	out := []any{}
	err := fields(raw, func(table string, value []byte) error {
		return elements(value, func(raw []byte) error {
			return fields(raw, func(kind string, request []byte) error {
				entry := map[string]any{"operation": strings.TrimSuffix(kind, "Request"), "tableName": table}
				out = append(out, entry)
				if err := r.take(len(kind) + len(table)); err != nil {
					return err
				}
				return fields(request, func(name string, value []byte) (err error) {
					switch name {
					case "Key":
						entry["key"], err = r.key(value, nil)
					case "Item":
						err = r.item(entry, "items", value, table)
					}
					return err
				})
			})
		})
	})
	return out, err
}

// list returns what f makes of each element.
func (r *renderer) list(raw []byte, f func(raw []byte) (any, error)) (any, error) {
	out := []any{}
	err := elements(raw, func(raw []byte) error {
		v, err := f(raw)
		if err != nil {
			return err
		}
		out = append(out, v)
		return r.take(0)
	})
	return out, err
}

// fields calls f with each field of an object. null has none. The values are views of raw.
func fields(raw []byte, f func(name string, value []byte) error) error {
	var r wirejson.Reader
	r.Reset(raw)
	if !r.BeginObject("") {
		return problem(&r)
	}
	for {
		name, ok := r.NextField()
		if !ok {
			return problem(&r)
		}
		kept := string(name)
		value, err := next(&r)
		if err != nil {
			return err
		}
		if err := f(kept, value); err != nil {
			return err
		}
	}
}

// elements calls f with each element of a list. null has none. The elements are views of raw.
func elements(raw []byte, f func(value []byte) error) error {
	var r wirejson.Reader
	r.Reset(raw)
	if !r.BeginArray() {
		return problem(&r)
	}
	for r.NextElem() {
		value, err := next(&r)
		if err != nil {
			return err
		}
		if err := f(value); err != nil {
			return err
		}
	}
	return problem(&r)
}

// next returns the text of the next value.
func next(r *wirejson.Reader) ([]byte, error) {
	before := r.Rest()
	r.Skip()
	if err := problem(r); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(before[:len(before)-len(r.Rest())]), nil
}

func problem(r *wirejson.Reader) error {
	if r.Err() != nil {
		return errMalformed
	}
	return nil
}

// memberOf returns the text of an object's member; null without one.
func memberOf(raw []byte, name string) (value []byte, err error) {
	value = []byte("null")
	err = fields(raw, func(field string, v []byte) error {
		if field == name {
			value = v
		}
		return nil
	})
	return value, err
}

// stringMember returns an object's member that is a string; "" without one.
func stringMember(raw []byte, name string) (text string, err error) {
	value, err := memberOf(raw, name)
	if err != nil {
		return "", err
	}
	text, ok := textOf(value)
	if !ok {
		return "", errMalformed
	}
	return text, nil
}

// textOf returns the text of a JSON string of bounded size. ok is false for other values.
func textOf(raw []byte) (text string, ok bool) {
	ok = len(raw) <= maxShown && len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &text) == nil
	return text, ok
}
