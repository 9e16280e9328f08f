package client

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	scaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	watch "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// TestCapacity is throttled, reads metrics about that, and has a table scaled.
func TestCapacity(t *testing.T) {
	e := endpoint(t)
	db := client(e, "test", "test")
	keys := credentials.NewStaticCredentialsProvider("test", "test", "")
	metrics := cloudwatch.New(cloudwatch.Options{Region: "us-east-1", BaseEndpoint: aws.String(e), Credentials: keys})
	scale := applicationautoscaling.New(applicationautoscaling.Options{Region: "us-east-1", BaseEndpoint: aws.String(e), Credentials: keys})
	table := "go-capacity-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	_, err := db.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:             &table,
		AttributeDefinitions:  []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:             []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}},
		ProvisionedThroughput: &types.ProvisionedThroughput{ReadCapacityUnits: aws.Int64(1), WriteCapacityUnits: aws.Int64(1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer db.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &table})
	impatient := func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }
	var exceeded *types.ProvisionedThroughputExceededException
	for i := 0; exceeded == nil; i++ {
		_, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: fmt.Sprint(i)}, "v": &types.AttributeValueMemberS{Value: strings.Repeat("x", 300<<10)},
		}}, impatient)
		if err != nil && !errors.As(err, &exceeded) || i > 10 {
			t.Fatal(err)
		}
	}
	if len(exceeded.ThrottlingReasons) != 1 || aws.ToString(exceeded.ThrottlingReasons[0].Reason) != "TableWriteProvisionedThroughputExceeded" {
		t.Errorf("reasons: %+v", exceeded.ThrottlingReasons)
	}
	var out *cloudwatch.GetMetricStatisticsOutput
	for attempt := 0; ; attempt++ { // several servers report their measurements every few seconds
		out, err = metrics.GetMetricStatistics(ctx, &cloudwatch.GetMetricStatisticsInput{
			Namespace: aws.String("AWS/DynamoDB"), MetricName: aws.String("WriteThrottleEvents"), Period: aws.Int32(60),
			Dimensions: []watch.Dimension{{Name: aws.String("TableName"), Value: &table}},
			StartTime:  aws.Time(time.Now().Add(-time.Hour)), EndTime: aws.Time(time.Now().Add(2 * time.Minute)), Statistics: []watch.Statistic{watch.StatisticSum},
		})
		if err != nil || len(out.Datapoints) > 0 || attempt == 100 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err != nil || len(out.Datapoints) != 1 || aws.ToFloat64(out.Datapoints[0].Sum) != 1 {
		t.Errorf("throttle events: %+v %v", out, err)
	}
	target := aws.String("table/" + table)
	if _, err := scale.RegisterScalableTarget(ctx, &applicationautoscaling.RegisterScalableTargetInput{
		ServiceNamespace: scaling.ServiceNamespaceDynamodb, ResourceId: target, ScalableDimension: scaling.ScalableDimensionDynamoDBTableReadCapacityUnits,
		MinCapacity: aws.Int32(7), MaxCapacity: aws.Int32(70),
	}); err != nil {
		t.Fatal(err)
	}
	acts, err := scale.DescribeScalingActivities(ctx, &applicationautoscaling.DescribeScalingActivitiesInput{ServiceNamespace: scaling.ServiceNamespaceDynamodb, ResourceId: target})
	if err != nil || len(acts.ScalingActivities) != 1 || aws.ToString(acts.ScalingActivities[0].Description) != "Setting read capacity units to 7." {
		t.Errorf("activities: %+v %v", acts, err)
	}
	var missing *scaling.ObjectNotFoundException
	_, err = scale.DeregisterScalableTarget(ctx, &applicationautoscaling.DeregisterScalableTargetInput{
		ServiceNamespace: scaling.ServiceNamespaceDynamodb, ResourceId: target, ScalableDimension: scaling.ScalableDimensionDynamoDBTableWriteCapacityUnits,
	})
	if !errors.As(err, &missing) {
		t.Errorf("a target that is not registered: %v", err)
	}
}
