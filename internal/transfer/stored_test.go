package transfer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// read decodes a request as it comes from a client.
func read[S smithy.Shape](t *testing.T, in S, text string) S {
	t.Helper()
	var r wirejson.Reader
	r.Reset([]byte(text))
	if !in.Read(&r) {
		t.Fatal(r.Err())
	}
	return in
}

// TestStored checks that requests are stored as testdata has them, which records of all versions have, and that nothing of them is lost.
func TestStored(t *testing.T) {
	for _, c := range []struct {
		name, request string
		stored        func(t *testing.T, text string) (request any, back, want any)
		record        any
	}{
		{
			name: "export", record: &Export{},
			request: `{"TableArn":"arn:aws:dynamodb:us-east-1:000000000000:table/Tab","ClientToken":"token","S3Bucket":"bucket","S3BucketOwner":"111111111111","S3Prefix":"p",
				"S3SseAlgorithm":"KMS","S3SseKmsKeyId":"key","ExportFormat":"ION","ExportType":"INCREMENTAL_EXPORT",
				"IncrementalExportSpecification":{"ExportFromTime":1.5,"ExportToTime":2,"ExportViewType":"NEW_IMAGE"},
				"FilterSpecification":{"FilterExpression":"#a = :v","ProjectionExpression":"b","KeyConditionExpression":"pk = :v",
					"ExpressionAttributeNames":{"#a":"a"},"ExpressionAttributeValues":{":v":{"S":"x"}}}}`,
			stored: func(t *testing.T, text string) (any, any, any) {
				in := read(t, &api.ExportTableToPointInTimeInput{}, text)
				r := NewExportRequest(in)
				return r, r.Filter(), in.FilterSpecification
			},
		},
		{
			name: "import", record: &Import{},
			request: `{"ClientToken":"token","S3BucketSource":{"S3Bucket":"bucket","S3BucketOwner":"111111111111","S3KeyPrefix":"p"},"InputFormat":"CSV",
				"InputFormatOptions":{"Csv":{"Delimiter":";","HeaderList":["pk","a"]}},"InputCompressionType":"GZIP",
				"TableCreationParameters":{"TableName":"Tab","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],
					"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"BillingMode":"PROVISIONED","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":2},
					"OnDemandThroughput":{"MaxReadRequestUnits":3,"MaxWriteRequestUnits":4},"SSESpecification":{"Enabled":true,"SSEType":"KMS","KMSMasterKeyId":"key"},
					"GlobalSecondaryIndexes":[{"IndexName":"Ind","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],
						"Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["a"]},"ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":6},
						"OnDemandThroughput":{"MaxReadRequestUnits":7,"MaxWriteRequestUnits":8},"WarmThroughput":{"ReadUnitsPerSecond":9,"WriteUnitsPerSecond":10}}]}}`,
			stored: func(t *testing.T, text string) (any, any, any) {
				in := read(t, &api.ImportTableInput{}, text)
				r := NewImportRequest(in)
				return r, []any{r.Options(), r.Parameters()}, []any{in.InputFormatOptions, in.TableCreationParameters}
			},
		},
		{
			name: "bulk", record: &Bulk{},
			request: `{"ClientToken":"token","TableName":"Tab","MaxWriteRequestUnits":5,"PerformanceTier":"STANDARD",
				"InputS3Configuration":{"S3Bucket":"bucket","S3BucketOwner":"111111111111","S3KeyPrefix":"p","InputFormat":"DYNAMODB_JSON","InputCompressionType":"ZSTD"},
				"OutputS3Configuration":{"S3Bucket":"bucket","S3BucketOwner":"111111111111","S3KeyPrefix":"q","S3SseAlgorithm":"KMS","S3SseKmsKeyId":"key","OutputType":["ERROR"]}}`,
			stored: func(t *testing.T, text string) (any, any, any) {
				in := read(t, &api.StartBulkPutItemsInput{}, text)
				r := NewBulkRequest(in)
				return r, (*api.OutputS3Configuration)(r.OutputS3Configuration), in.OutputS3Configuration
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			golden, err := os.ReadFile(filepath.Join("testdata", c.name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			text := strings.TrimSpace(string(golden))
			request, back, want := c.stored(t, c.request)
			if raw, err := json.Marshal(request); err != nil || string(raw) != text {
				t.Errorf("it is stored as %s, %v", raw, err)
			}
			if !reflect.DeepEqual(back, want) {
				t.Errorf("%+v has become %+v", want, back)
			}
			for version, readable := range map[string]bool{"": true, `"Version":1,`: true, `"Version":2,`: false} {
				record := reflect.New(reflect.TypeOf(c.record).Elem())
				err := json.Unmarshal([]byte(`{`+version+`"ID":"1","Request":`+text+`}`), record.Interface())
				if (err == nil) != readable {
					t.Errorf("with version %q: %v", version, err)
				}
				if got := record.Elem().FieldByName("Request").Interface(); readable && !reflect.DeepEqual(got, request) {
					t.Errorf("with version %q it is read as %+v", version, got)
				}
			}
		})
	}
}
