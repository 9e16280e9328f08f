package dev.stator;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URI;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import org.junit.jupiter.api.Test;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsSyncClientBuilder;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.core.retry.RetryMode;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.applicationautoscaling.ApplicationAutoScalingClient;
import software.amazon.awssdk.services.applicationautoscaling.model.ScalableDimension;
import software.amazon.awssdk.services.applicationautoscaling.model.ServiceNamespace;
import software.amazon.awssdk.services.cloudwatch.CloudWatchClient;
import software.amazon.awssdk.services.cloudwatch.model.ComparisonOperator;
import software.amazon.awssdk.services.cloudwatch.model.Dimension;
import software.amazon.awssdk.services.cloudwatch.model.ResourceNotFoundException;
import software.amazon.awssdk.services.cloudwatch.model.Statistic;
import software.amazon.awssdk.services.dynamodb.DynamoDbClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeDefinition;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.model.KeySchemaElement;
import software.amazon.awssdk.services.dynamodb.model.KeyType;
import software.amazon.awssdk.services.dynamodb.model.ProvisionedThroughputExceededException;
import software.amazon.awssdk.services.dynamodb.model.ScalarAttributeType;

/** Capacity, CloudWatch and Application Auto Scaling by the AWS SDK for Java v2. */
class CapacityTest {
  static <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder) {
    return builder
        .endpointOverride(URI.create(System.getenv("STATOR_ENDPOINT")))
        .region(Region.US_EAST_1)
        .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test")))
        .httpClientBuilder(UrlConnectionHttpClient.builder())
        .overrideConfiguration(c -> c.retryStrategy(RetryMode.STANDARD).retryStrategy(r -> r.maxAttempts(1)))
        .build();
  }

  @Test
  void capacity() {
    DynamoDbClient db = client(DynamoDbClient.builder());
    CloudWatchClient watch = client(CloudWatchClient.builder());
    ApplicationAutoScalingClient scaling = client(ApplicationAutoScalingClient.builder());
    String table = "java-capacity-" + System.nanoTime();
    db.createTable(r -> r.tableName(table)
        .attributeDefinitions(AttributeDefinition.builder().attributeName("pk").attributeType(ScalarAttributeType.S).build())
        .keySchema(KeySchemaElement.builder().attributeName("pk").keyType(KeyType.HASH).build())
        .provisionedThroughput(p -> p.readCapacityUnits(1L).writeCapacityUnits(1L)));
    ProvisionedThroughputExceededException e = assertThrows(ProvisionedThroughputExceededException.class, () -> {
      for (int i = 0; i < 10; i++) {
        String key = "k" + i;
        db.putItem(r -> r.tableName(table).item(Map.of("pk", AttributeValue.fromS(key), "v", AttributeValue.fromS("x".repeat(300 << 10)))));
      }
    });
    assertEquals("TableWriteProvisionedThroughputExceeded", e.throttlingReasons().get(0).reason());
    assertTrue(e.isThrottlingException());
    var points = watch.getMetricStatistics(r -> r.namespace("AWS/DynamoDB").metricName("WriteThrottleEvents").period(60)
        .dimensions(Dimension.builder().name("TableName").value(table).build()).statistics(Statistic.SUM)
        .startTime(Instant.now().minus(Duration.ofHours(1))).endTime(Instant.now().plusSeconds(120))).datapoints();
    assertEquals(1, points.get(0).sum());
    watch.putMetricAlarm(r -> r.alarmName(table).namespace("Java").metricName("m").statistic(Statistic.AVERAGE).period(60)
        .evaluationPeriods(1).threshold(2.5).comparisonOperator(ComparisonOperator.LESS_THAN_THRESHOLD));
    assertEquals(2.5, watch.describeAlarms(r -> r.alarmNames(table)).metricAlarms().get(0).threshold());
    watch.deleteAlarms(r -> r.alarmNames(table));
    assertThrows(ResourceNotFoundException.class, () -> watch.listTagsForResource(r -> r.resourceARN("arn:aws:cloudwatch:us-east-1:000000000000:alarm:" + table)));
    scaling.registerScalableTarget(r -> r.serviceNamespace(ServiceNamespace.DYNAMODB).resourceId("table/" + table)
        .scalableDimension(ScalableDimension.DYNAMODB_TABLE_READ_CAPACITY_UNITS).minCapacity(9).maxCapacity(90));
    assertEquals(9, scaling.describeScalableTargets(r -> r.serviceNamespace(ServiceNamespace.DYNAMODB).resourceIds("table/" + table))
        .scalableTargets().get(0).minCapacity());
    assertEquals(9, db.describeTable(r -> r.tableName(table)).table().provisionedThroughput().readCapacityUnits());
    db.deleteTable(r -> r.tableName(table));
  }
}
