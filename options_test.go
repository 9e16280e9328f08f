package stator

import (
	"reflect"
	"testing"
)

// TestOptionsArrive sets each option to a distinct value and checks that package server receives it.
func TestOptionsArrive(t *testing.T) {
	given := reflect.TypeFor[Options]()
	for i := range given.NumField() {
		name := given.Field(i).Name
		var opt Options
		field := reflect.ValueOf(&opt).Elem().Field(i)
		if !setNonZero(field) {
			t.Errorf("%s is of a kind that this test does not set: %s", name, field.Type())
			continue
		}
		got := reflect.ValueOf(opt.internal()).FieldByName(name)
		if !got.IsValid() || got.IsZero() {
			t.Errorf("%s does not arrive", name)
		}
	}
}

// setNonZero sets v to a non-zero value.
func setNonZero(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Func:
		v.Set(reflect.MakeFunc(v.Type(), func([]reflect.Value) []reflect.Value { return nil }))
	case reflect.Struct:
		return setNonZero(v.Field(0))
	default:
		return false
	}
	return true
}
