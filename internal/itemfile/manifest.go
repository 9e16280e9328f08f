package itemfile

// Manifest is manifest-summary.json of an export ("DynamoDB table export output format"). Its times have the format
// ManifestTime.
type Manifest struct {
	Version      string  `json:"version"`
	ExportARN    string  `json:"exportArn"`
	Start        string  `json:"startTime"`
	End          string  `json:"endTime"`
	TableARN     string  `json:"tableArn"`
	TableID      string  `json:"tableId"`
	ExportTime   string  `json:"exportTime,omitempty"`     // of a full export
	From         string  `json:"exportFromTime,omitempty"` // of an incremental export
	To           string  `json:"exportToTime,omitempty"`
	Bucket       string  `json:"s3Bucket"`
	Prefix       *string `json:"s3Prefix"`
	Algorithm    string  `json:"s3SseAlgorithm"`
	KMSKey       *string `json:"s3SseKmsKeyId"`
	Files        string  `json:"manifestFilesS3Key"`
	BilledSize   int64   `json:"billedSizeBytes"`
	Items        int64   `json:"itemCount"`
	OutputFormat string  `json:"outputFormat"`
	OutputView   string  `json:"outputView,omitempty"`
	ExportType   string  `json:"exportType"`
}

// ManifestTime is the format of times in a Manifest. In UTC they sort as text.
const ManifestTime = "2006-01-02T15:04:05.000Z"

// DataFile is a line of manifest-files.json: a file with items.
type DataFile struct {
	Items int64  `json:"itemCount"`
	MD5   string `json:"md5Checksum"` // in Base64
	ETag  string `json:"etag"`
	Key   string `json:"dataFileS3Key"`
}
