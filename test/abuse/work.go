package abuse

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/statordb/stator/test/abuse/mutate"
)

var workAttacks = []Attack{
	{Point: 3, Name: "80,000 ExpressionAttributeNames", Work: 3 * time.Second, Run: manyNames},
	{Point: 3, Name: "RequestItems, Expected, KeyConditions and the like with 40,000 entries", Work: 8 * time.Second, Run: manyEntries},
	{Point: 3, Name: "PutMetricData of 16 MB of {} in 15 KB of gzip", Work: 3 * time.Second, Run: emptyData},
	{Point: 3, Name: "the same list in every member of every operation", Work: 25 * time.Second, Run: everyMember},
	{Point: 3, Name: "the same list as a form and as CBOR", Work: 5 * time.Second, Run: otherProtocols},
	{Point: 3, Name: "unsigned and wrongly signed bodies of 16 MB", Needs: Needs{Credentials: true}, Work: 2 * time.Second, Run: unsignedBodies},
	{Point: 3, Name: "unsigned gzip of 16 MB", Needs: Needs{Credentials: true}, Work: 2 * time.Second, Run: unsignedZip},
	{Point: 3, Name: "gzip of gzip, bombs of 1 GB", Work: 5 * time.Second, Run: bombs},
	{Point: 3, Name: "JSON 500,000 deep, in every place", Run: deepJSON},
	{Point: 3, Name: "expressions of 4 KB with 300 operators, IN of 100, nested parentheses", Run: heavyExpressions},
}

// entries returns n members of a JSON object with distinct names.
func entries(n int, name, value string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\"%s%d\":%s", name, i, value)
	}
	return b.String()
}

func manyNames(ctx context.Context, t *Target) error {
	r := t.Call(ctx, Alice, "GetItem", `{"TableName":"light","Key":{"pk":{"S":"x"}},"ProjectionExpression":"#n1","ExpressionAttributeNames":{`+entries(80_000, "#n", `"a"`)+`}}`)
	return r.Refused("GetItem with 80,000 names")
}

// manyEntries sends maps and lists of 40,000 entries, and a map whose names are all equal.
func manyEntries(ctx context.Context, t *Target) error {
	const n = 40_000
	list := func(element string) string { return "[" + strings.Repeat(element+",", n-1) + element + "]" }
	legacy := `{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"a"}]}`
	var failed error
	for _, c := range []struct{ operation, body string }{
		{"BatchGetItem", `{"RequestItems":{` + entries(n, "table", `{"Keys":[{"pk":{"S":"a"}}]}`) + `}}`},
		{"BatchWriteItem", `{"RequestItems":{` + entries(n, "table", `[{"DeleteRequest":{"Key":{"pk":{"S":"a"}}}}]`) + `}}`},
		{"PutItem", `{"TableName":"light","Item":{"pk":{"S":"a"}},"Expected":{` + entries(n, "a", `{"Exists":false}`) + `}}`},
		{"DeleteItem", `{"TableName":"light","Key":{"pk":{"S":"a"}},"Expected":{` + entries(n, "a", legacy) + `}}`},
		{"Query", `{"TableName":"light","KeyConditions":{` + entries(n, "a", legacy) + `}}`},
		{"Query", `{"TableName":"light","KeyConditions":{"pk":` + legacy + `},"QueryFilter":{` + entries(n, "a", legacy) + `}}`},
		{"Scan", `{"TableName":"light","ScanFilter":{` + entries(n, "a", legacy) + `}}`},
		{"UpdateItem", `{"TableName":"light","Key":{"pk":{"S":"a"}},"AttributeUpdates":{` + entries(n, "a", `{"Action":"PUT","Value":{"S":"x"}}`) + `}}`},
		{"GetItem", `{"TableName":"light","Key":{"pk":{"S":"a"}},"AttributesToGet":` + list(`"a"`) + `}`},
		{"GetItem", `{"TableName":"light","Key":{` + entries(n, "a", `{"S":"a"}`) + `}}`},
		{"Scan", `{"TableName":"light","ExclusiveStartKey":{` + entries(n, "a", `{"S":"a"}`) + `}}`},
		{"PutItem", `{"TableName":"light","Item":{` + entries(2*n, "a", `{"S":""}`) + `}}`},
		{"PutItem", `{"TableName":"light","Item":{"pk":{"S":"a"},"m":{"M":{` + entries(2*n, "a", `{"S":""}`) + `}}}}`},
		{"PutItem", `{"TableName":"light","Item":{"pk":{"S":"a"},"s":{"SS":` + "[" + strings.Repeat(`"x",`, n) + `"x"]}}}`},
		{"TransactWriteItems", `{"TransactItems":` + list(`{"Delete":{"TableName":"light","Key":{"pk":{"S":"a"}}}}`) + `}`},
		{"TransactGetItems", `{"TransactItems":` + list(`{"Get":{"TableName":"light","Key":{"pk":{"S":"a"}}}}`) + `}`},
		{"BatchExecuteStatement", `{"Statements":` + list(`{"Statement":"SELECT * FROM light"}`) + `}`},
		{"ExecuteStatement", `{"Statement":"SELECT * FROM light WHERE pk=?","Parameters":` + list(`{"S":"a"}`) + `}`},
		{"CreateTable", `{"TableName":"x","AttributeDefinitions":` + list(`{"AttributeName":"a","AttributeType":"S"}`) + `}`},
		{"TagResource", `{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/light","Tags":` + list(`{"Key":"a","Value":"b"}`) + `}`},
	} {
		r := t.Call(ctx, Alice, c.operation, c.body)
		failed = errors.Join(failed, r.Refused(fmt.Sprintf("%s %.60s", c.operation, c.body)))
	}
	r := t.Call(ctx, Alice, "PutItem", `{"TableName":"light","Item":{`+strings.Repeat(`"a":{"S":"x"},`, n)+`"pk":{"S":"a"}}}`)
	return errors.Join(failed, r.Taken("PutItem with an attribute 40,000 times"))
}

// zipped compresses a text with gzip.
func zipped(text string) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write([]byte(text)) // writing to a Buffer doesn't fail
	_ = w.Close()
	return out.Bytes()
}

// emptyList returns a JSON list of about size bytes.
func emptyList(element string, size int) string {
	return "[" + strings.Repeat(element+",", size/(len(element)+1)) + element + "]"
}

func emptyData(ctx context.Context, t *Target) error {
	r := t.Zip(ctx, Alice, cloudWatch+"PutMetricData", zipped(`{"Namespace":"n","MetricData":`+emptyList("{}", 15<<20)+`}`))
	return r.Refused("PutMetricData")
}

// everyMember sends long lists and maps in every list and map of every operation's input.
func everyMember(ctx context.Context, t *Target) error {
	size := 256 << 10
	if t.Long {
		size = 4 << 20
	}
	var failed error
	for _, m := range mutate.Collections() {
		body := m.Before + emptyList(m.Element, size) + m.After
		if m.Map {
			body = m.Before + "{" + entries(size/(len(m.Element)+12), "k", m.Element) + "}" + m.After
		}
		r := t.Zip(ctx, Alice, m.Target, zipped(body))
		failed = errors.Join(failed, r.Taken(m.Target+" "+m.Before))
		if err := t.Alive(); err != nil || ctx.Err() != nil {
			return errors.Join(failed, err)
		}
	}
	return failed
}

// otherProtocols sends long lists in the protocols that are translated.
func otherProtocols(ctx context.Context, t *Target) error {
	h := t.sign(Alice, cloudWatch+"PutMetricData", nil)
	delete(h, "x-amz-target")
	var form strings.Builder
	form.WriteString("Action=PutMetricData&Version=2010-08-01&Namespace=n")
	for i := range 40_000 {
		fmt.Fprintf(&form, "&MetricData.member.%d.MetricName=m", i+1)
	}
	var failed error
	for _, c := range []struct {
		contentType, path, body string
	}{
		{"application/x-www-form-urlencoded", "/", form.String()},
		{"application/x-www-form-urlencoded", "/", "Action=PutMetricData&Version=2010-08-01&MetricData.member.1" + strings.Repeat(".Dimensions.member.1", 50_000) + "=x"},
		{"application/x-www-form-urlencoded", "/", "Action=PutMetricData&Version=2010-08-01&MetricData.member.2000000000.MetricName=x" + strings.Repeat("&a=b", 1<<20)},
		{"application/cbor", "/service/GraniteServiceVersion20100801/operation/PutMetricData", "\xa1\x6aMetricData\x9a\x00\x50\x00\x00" + strings.Repeat("\xa0", 0x500000)},
		{"application/cbor", "/service/GraniteServiceVersion20100801/operation/PutMetricData", "\xa1\x6aMetricData\x9b\x7f\xff\xff\xff\xff\xff\xff\xff\xa0"},
		{"application/cbor", "/service/GraniteServiceVersion20100801/operation/PutMetricData", strings.Repeat("\x81", 1<<20)},
		{"application/cbor", "/service/GraniteServiceVersion20100801/operation/PutMetricData", "\xa1\x6aMetricData" + strings.Repeat("\x9f", 1<<20)},
	} {
		message := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nAuthorization: %s\r\nX-Amz-Date: %s\r\nContent-Length: %d\r\n", c.path, t.Addr, c.contentType, h["authorization"], h["x-amz-date"], len(c.body))
		if c.contentType == "application/cbor" {
			message += "smithy-protocol: rpc-v2-cbor\r\n"
		}
		r := t.Raw(ctx, message+"\r\n"+c.body)
		failed = errors.Join(failed, r.Refused(fmt.Sprintf("%s %.60q", c.contentType, c.body)))
	}
	return failed
}

// strangers are keys and signatures that a server with credentials must refuse.
func strangers(t *Target, operation string) map[string]map[string]string {
	known := t.sign(Alice, operation, []byte("another body"))
	unknown := t.sign(Key{ID: "AKIDUNKNOWN000000000", Secret: "x"}, operation, nil)
	unsigned := t.sign(Alice, operation, nil)
	delete(unsigned, "authorization")
	return map[string]map[string]string{"unsigned": unsigned, "an unknown key": unknown, "a wrong signature": known}
}

func unsignedBodies(ctx context.Context, t *Target) error {
	body := []byte(`{"TableName":"light","Item":{` + entries(600_000, "a", `{"S":"xxxx"}`) + `}}`)
	var failed error
	for name, h := range strangers(t, "PutItem") {
		for range 5 {
			r := t.send(ctx, h, body[:min(len(body), 16<<20)])
			failed = errors.Join(failed, r.Refused(name))
		}
	}
	return failed
}

// unsignedZip sends compressed bodies of strangers. If the server inflated them, each would take some 20 ms.
func unsignedZip(ctx context.Context, t *Target) error {
	body := zipped(`{"TableName":"light","X":"` + strings.Repeat("x", 15<<20) + `"}`)
	var failed error
	for _, operation := range []string{"PutItem", cloudWatch + "PutMetricData"} {
		for name, h := range strangers(t, operation) {
			h["content-encoding"] = "gzip"
			for range 50 {
				r := t.send(ctx, h, body)
				failed = errors.Join(failed, r.Refused(name))
			}
		}
	}
	return failed
}

// bombs sends bodies that inflate beyond the allowed size.
func bombs(ctx context.Context, t *Target) error {
	megabyte := zipped(strings.Repeat("x", 1<<20))
	large := bytes.Repeat(megabyte, 1024)
	var failed error
	for range 10 {
		r := t.Zip(ctx, Alice, "PutItem", large)
		failed = errors.Join(failed, r.Refused("a bomb"))
	}
	r := t.Zip(ctx, Alice, "PutItem", zipped(string(large)))
	failed = errors.Join(failed, r.Refused("gzip of gzip"))
	for _, encoding := range []string{"gzip, gzip", "gzip,deflate", "br", "zstd", "x", strings.Repeat("gzip,", 1000)} {
		h := t.sign(Alice, "PutItem", megabyte)
		h["content-encoding"] = encoding
		failed = errors.Join(failed, t.send(ctx, h, megabyte).Undecoded("Content-Encoding "+encoding))
	}
	return failed
}

// deepJSON nests deeper than any stack.
func deepJSON(ctx context.Context, t *Target) error {
	const depth = 500_000
	var failed error
	for _, begin := range []string{``, `{"TableName":`, `{"Unknown":`, `{"Item":{"pk":`, `{"Item":{"pk":{"L":`, `{"Key":`, `{"ExpressionAttributeValues":{":a":`, `{"Expected":{"a":`, `{"MetricData":[`, `{"Metrics":[`} {
		for _, unit := range []string{`[`, `{"a":`, `{"L":[`, `{"M":{"a":`} {
			for _, operation := range []string{"PutItem", cloudWatch + "PutMetricData", autoScaling + "PutScalingPolicy"} {
				r := t.Call(ctx, Alice, operation, begin+strings.Repeat(unit, depth/len(unit)))
				failed = errors.Join(failed, r.Refused(operation+" "+begin+unit))
			}
		}
	}
	return failed
}

// heavyExpressions sends expressions that are as expensive as possible.
func heavyExpressions(ctx context.Context, t *Target) error {
	var failed error
	values := `"ExpressionAttributeValues":{":v":{"S":"x"}}`
	for _, filter := range []string{
		"a=:v" + strings.Repeat(" OR a=:v", 300), strings.Repeat("(", 2000) + "a=:v" + strings.Repeat(")", 2000), strings.Repeat("NOT ", 1000) + "a=:v",
		"a IN (:v" + strings.Repeat(",:v", 99) + ")", "a" + strings.Repeat("[0]", 1000) + "=:v", "a" + strings.Repeat(".a", 1500) + "=:v", strings.Repeat("size(", 500),
		"contains(a," + strings.Repeat("size(", 500), strings.Repeat("#", 4000), strings.Repeat(":", 4000), "a[99999999999999999999]=:v",
	} {
		r := t.Call(ctx, Alice, "Scan", `{"TableName":"light","FilterExpression":`+quote(filter)+`,`+values+`}`)
		failed = errors.Join(failed, r.Taken(filter[:min(len(filter), 40)]))
		for _, statement := range []string{`SELECT * FROM light WHERE ` + filter, "SELECT " + filter + " FROM light"} {
			r := t.Call(ctx, Alice, "ExecuteStatement", `{"Statement":`+quote(strings.ReplaceAll(statement, ":v", "'x'"))+`}`)
			failed = errors.Join(failed, r.Taken(statement[:40]))
		}
	}
	return failed
}
