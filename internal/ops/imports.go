package ops

import (
	"context"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/transfer"
)

func (s *Service) importTable(ctx context.Context, call *smithy.Call, in *api.ImportTableInput) (*api.ImportTableOutput, error) {
	if in.InputFormatOptions != nil && in.InputFormatOptions.Csv != nil && in.InputFormat.Value != api.InputFormatCsv {
		return nil, awserr.Invalid("InputFormatOptions for CSV can only be specified when InputFormat is CSV")
	}
	p := in.TableCreationParameters
	ns := s.namespace(call)
	create := &api.CreateTableInput{
		TableName: p.TableName, AttributeDefinitions: p.AttributeDefinitions, KeySchema: p.KeySchema, BillingMode: p.BillingMode,
		ProvisionedThroughput: p.ProvisionedThroughput, OnDemandThroughput: p.OnDemandThroughput, SSESpecification: p.SSESpecification,
		GlobalSecondaryIndexes: p.GlobalSecondaryIndexes, VectorIndexes: p.VectorIndexes,
	}
	t, err := s.newTable(ctx, ns, p.TableName.Value, create)
	if err != nil {
		return nil, err
	}
	print, err := fingerprint(in)
	if err != nil {
		return nil, err
	}
	old, conflict := repeated(s, s.Transfers.Imports.List(ns.Account, ns.Region), in.ClientToken, print, func(i *transfer.Import) (string, string, int64) {
		return i.Request.ClientToken.Value, i.Fingerprint, i.End
	})
	switch {
	case conflict:
		return nil, awserr.New(awserr.ImportConflict, "There is an import with the same client token and different parameters")
	case old != nil:
		return &api.ImportTableOutput{ImportTableDescription: describeImport(s.Transfers.Current(old))}, nil
	}
	i := &transfer.Import{Namespace: ns, Caller: call.Caller.Account, Table: t.Name, TableUUID: t.UUID, Request: *in, Fingerprint: print}
	i, taken, err := s.Transfers.StartImport(ctx, i, t)
	if err != nil {
		return nil, clientError(err)
	}
	if taken != nil {
		return nil, awserr.TableExists(taken.Name)
	}
	return &api.ImportTableOutput{ImportTableDescription: describeImport(s.Transfers.Current(i))}, nil
}

// logGroup is where AWS logs what an import refuses. Stator logs it in its own log.
func logGroup(i *transfer.Import) smithy.Opt[string] {
	return smithy.Some("arn:aws:logs:" + i.Region + ":" + i.Account + ":log-group:/aws-dynamodb/imports:*")
}

func describeImport(i *transfer.Import) *api.ImportTableDescription {
	in := &i.Request
	d := &api.ImportTableDescription{
		ImportArn: smithy.Some(i.ARN()), ImportStatus: smithy.Some(i.Status), TableArn: smithy.Some(i.TableARN()), TableId: smithy.Some(i.TableUUID),
		ClientToken: in.ClientToken, S3BucketSource: in.S3BucketSource, ErrorCount: smithy.Some(i.Errors), CloudWatchLogGroupArn: logGroup(i),
		InputFormat: in.InputFormat, InputFormatOptions: in.InputFormatOptions, InputCompressionType: smithy.Some(in.InputCompressionType.Or(api.InputCompressionTypeNone)),
		TableCreationParameters: in.TableCreationParameters, StartTime: seconds(i.Start), EndTime: seconds(i.End),
		ProcessedSizeBytes: smithy.Some(i.Bytes), ProcessedItemCount: smithy.Some(i.Processed), ImportedItemCount: smithy.Some(i.Imported),
	}
	if i.Failure != nil {
		d.FailureCode, d.FailureMessage = smithy.Some(i.Failure.Code), smithy.Some(i.Failure.Message)
	}
	return d
}

func (s *Service) describeImport(_ context.Context, call *smithy.Call, in *api.DescribeImportInput) (*api.DescribeImportOutput, error) {
	key, ok, err := s.jobKey(call, in.ImportArn.Value, "import")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, awserr.Invalid("Invalid ImportArn: " + in.ImportArn.Value)
	}
	i := s.Transfers.Imports.Get(key)
	if i == nil || i.ARN() != in.ImportArn.Value {
		return nil, awserr.New(awserr.ImportNotFound, "Import not found: "+in.ImportArn.Value)
	}
	return &api.DescribeImportOutput{ImportTableDescription: describeImport(s.Transfers.Current(i))}, nil
}

func (s *Service) listImports(_ context.Context, call *smithy.Call, in *api.ListImportsInput) (*api.ListImportsOutput, error) {
	if err := s.authorizeARN(call, in.TableArn.Value); err != nil {
		return nil, err
	}
	ns := s.namespace(call)
	var list []*transfer.Import
	for _, i := range s.Transfers.Imports.List(ns.Account, ns.Region) {
		if !in.TableArn.Set || strings.HasPrefix(i.ARN(), in.TableArn.Value+"/") {
			list = append(list, i)
		}
	}
	page, next, err := pageOf(list, func(i *transfer.Import) string { return i.ID }, in.NextToken, in.PageSize.Or(transfersPerPage), minImportTokenChars)
	if err != nil {
		return nil, err
	}
	out := &api.ListImportsOutput{ImportSummaryList: []api.ImportSummary{}, NextToken: next}
	for _, i := range page {
		d := describeImport(s.Transfers.Current(i))
		out.ImportSummaryList = append(out.ImportSummaryList, api.ImportSummary{
			ImportArn: d.ImportArn, ImportStatus: d.ImportStatus, TableArn: d.TableArn, S3BucketSource: d.S3BucketSource,
			CloudWatchLogGroupArn: d.CloudWatchLogGroupArn, InputFormat: d.InputFormat, StartTime: d.StartTime, EndTime: d.EndTime,
		})
	}
	return out, nil
}
