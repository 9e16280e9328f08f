package dev.stator;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.net.URI;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.enhanced.dynamodb.DynamoDbEnhancedClient;
import software.amazon.awssdk.enhanced.dynamodb.DynamoDbTable;
import software.amazon.awssdk.enhanced.dynamodb.Expression;
import software.amazon.awssdk.enhanced.dynamodb.Key;
import software.amazon.awssdk.enhanced.dynamodb.TableSchema;
import software.amazon.awssdk.enhanced.dynamodb.extensions.annotations.DynamoDbAtomicCounter;
import software.amazon.awssdk.enhanced.dynamodb.extensions.annotations.DynamoDbVersionAttribute;
import software.amazon.awssdk.enhanced.dynamodb.mapper.annotations.DynamoDbBean;
import software.amazon.awssdk.enhanced.dynamodb.mapper.annotations.DynamoDbPartitionKey;
import software.amazon.awssdk.enhanced.dynamodb.mapper.annotations.DynamoDbSecondaryPartitionKey;
import software.amazon.awssdk.enhanced.dynamodb.mapper.annotations.DynamoDbSecondarySortKey;
import software.amazon.awssdk.enhanced.dynamodb.mapper.annotations.DynamoDbSortKey;
import software.amazon.awssdk.enhanced.dynamodb.model.ConditionCheck;
import software.amazon.awssdk.enhanced.dynamodb.model.IgnoreNullsMode;
import software.amazon.awssdk.enhanced.dynamodb.model.QueryConditional;
import software.amazon.awssdk.enhanced.dynamodb.model.ReadBatch;
import software.amazon.awssdk.enhanced.dynamodb.model.TransactDeleteItemEnhancedRequest;
import software.amazon.awssdk.enhanced.dynamodb.model.WriteBatch;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.dynamodb.DynamoDbClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.model.ConditionalCheckFailedException;
import software.amazon.awssdk.services.dynamodb.model.TransactionCanceledException;

/** The Enhanced client of the AWS SDK for Java v2 against the server whose endpoint is in STATOR_ENDPOINT. */
class EnhancedTest {
  static DynamoDbClient db;
  static DynamoDbEnhancedClient client;
  static DynamoDbTable<Job> jobs;

  @BeforeAll
  static void createTable() {
    db = DynamoDbClient.builder()
        .endpointOverride(URI.create(System.getenv("STATOR_ENDPOINT"))).region(Region.US_EAST_1)
        .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test")))
        .httpClientBuilder(UrlConnectionHttpClient.builder()).build();
    client = DynamoDbEnhancedClient.builder().dynamoDbClient(db).build();
    jobs = client.table("enhanced-" + System.nanoTime(), TableSchema.fromBean(Job.class));
    jobs.createTable();
    db.waiter().waitUntilTableExists(r -> r.tableName(jobs.tableName()));
  }

  @AfterAll
  static void deleteTable() {
    jobs.deleteTable();
  }

  static Job job(String queue, int number, String state) {
    Job j = new Job();
    j.setQueue(queue);
    j.setNumber(number);
    j.setState(state);
    return j;
  }

  static Key key(String queue, int number) {
    return Key.builder().partitionValue(queue).sortValue(number).build();
  }

  @Test
  void items() {
    Job j = job("a", 1, "new");
    j.setAt(Instant.parse("2026-02-28T12:00:00.005Z"));
    j.setTags(Set.of("x", "y"));
    j.setLimits(Map.of("cpu", 2, "disk", 10));
    jobs.putItem(r -> r.item(j).conditionExpression(Expression.builder().expression("attribute_not_exists(queue)").build()));
    assertThrows(ConditionalCheckFailedException.class, () -> jobs.putItem(r -> r.item(j)
        .conditionExpression(Expression.builder().expression("attribute_not_exists(queue)").build())));
    Job got = jobs.getItem(r -> r.key(key("a", 1)).consistentRead(true));
    assertEquals(j.getAt(), got.getAt());
    assertEquals(Set.of("x", "y"), got.getTags());
    assertEquals(Map.of("cpu", 2, "disk", 10), got.getLimits());
    assertEquals(1, got.getVersion());
    got.setState("running");
    Job updated = jobs.updateItem(got);
    assertEquals(2, updated.getVersion());
    assertThrows(ConditionalCheckFailedException.class, () -> jobs.updateItem(got));
    Job partial = job("a", 1, "done");
    partial.setVersion(2);
    assertEquals(Set.of("x", "y"), jobs.updateItem(r -> r.item(partial).ignoreNullsMode(IgnoreNullsMode.SCALAR_ONLY)).getTags());
    assertEquals("done", jobs.deleteItem(key("a", 1)).getState());
    assertNull(jobs.getItem(key("a", 1)));
  }

  @Test
  void queriesAndBatches() {
    // Batches take no conditions, so not the extension for versions either.
    var plain = DynamoDbEnhancedClient.builder().dynamoDbClient(db).extensions(List.of()).build();
    var jobs = plain.table(EnhancedTest.jobs.tableName(), EnhancedTest.jobs.tableSchema());
    var writes = WriteBatch.builder(Job.class).mappedTableResource(jobs);
    IntStream.range(0, 25).forEach(i -> writes.addPutItem(job("q", i, i % 3 == 0 ? "new" : "done")));
    var written = plain.batchWriteItem(r -> r.writeBatches(writes.build()));
    assertEquals(0, written.unprocessedPutItemsForTable(jobs).size());
    var odd = Expression.builder().expression("#s = :s").putExpressionName("#s", "state").putExpressionValue(":s", AttributeValue.fromS("new")).build();
    assertEquals(List.of(21, 18, 15, 12), jobs.query(r -> r.queryConditional(QueryConditional.sortGreaterThan(key("q", 10))).filterExpression(odd)
        .scanIndexForward(false).limit(5)).items().stream().filter(j -> j.getNumber() < 24).map(Job::getNumber).toList());
    var byState = jobs.index("by-state");
    assertEquals(List.of(3, 6), byState.query(QueryConditional.sortBetween(key("new", 1), key("new", 8))).stream()
        .flatMap(p -> p.items().stream()).map(Job::getNumber).toList());
    assertEquals(25, jobs.scan(r -> r.limit(10).attributesToProject("queue").filterExpression(Expression.builder().expression("queue = :q")
        .putExpressionValue(":q", AttributeValue.fromS("q")).build())).items().stream().count());
    var reads = ReadBatch.builder(Job.class).mappedTableResource(jobs).addGetItem(key("q", 1)).addGetItem(key("q", 24)).addGetItem(key("q", 99));
    assertEquals(2, plain.batchGetItem(r -> r.readBatches(reads.build())).resultsForTable(jobs).stream().count());
  }

  @Test
  void transactions() {
    jobs.putItem(job("t", 1, "new"));
    Job one = jobs.getItem(key("t", 1));
    one.setState("running");
    client.transactWriteItems(r -> r.addUpdateItem(jobs, one).addPutItem(jobs, job("t", 2, "new"))
        .addConditionCheck(jobs, ConditionCheck.builder().key(key("t", 3))
            .conditionExpression(Expression.builder().expression("attribute_not_exists(queue)").build()).build()));
    var canceled = assertThrows(TransactionCanceledException.class, () -> client.transactWriteItems(r -> r.addPutItem(jobs, job("t", 4, "new"))
        .addDeleteItem(jobs, TransactDeleteItemEnhancedRequest.builder().key(key("t", 1)).conditionExpression(Expression.builder()
            .expression("runs = :v").putExpressionValue(":v", AttributeValue.fromN("9")).build()).build())));
    assertEquals(List.of("None", "ConditionalCheckFailed"), canceled.cancellationReasons().stream().map(c -> c.code()).toList());
    var docs = client.transactGetItems(r -> r.addGetItem(jobs, key("t", 1)).addGetItem(jobs, key("t", 4)));
    assertEquals("running", docs.get(0).getItem(jobs).getState());
    assertNull(docs.get(1).getItem(jobs));
  }

  /** An item. */
  @DynamoDbBean
  public static class Job {
    private String queue;
    private Integer number;
    private String state;
    private Instant at;
    private Set<String> tags;
    private Map<String, Integer> limits;
    private Integer version;
    private Long runs;

    @DynamoDbPartitionKey
    public String getQueue() { return queue; }
    public void setQueue(String v) { queue = v; }
    @DynamoDbSortKey
    @DynamoDbSecondarySortKey(indexNames = "by-state")
    public Integer getNumber() { return number; }
    public void setNumber(Integer v) { number = v; }
    @DynamoDbSecondaryPartitionKey(indexNames = "by-state")
    public String getState() { return state; }
    public void setState(String v) { state = v; }
    public Instant getAt() { return at; }
    public void setAt(Instant v) { at = v; }
    public Set<String> getTags() { return tags; }
    public void setTags(Set<String> v) { tags = v; }
    public Map<String, Integer> getLimits() { return limits; }
    public void setLimits(Map<String, Integer> v) { limits = v; }
    @DynamoDbVersionAttribute
    public Integer getVersion() { return version; }
    public void setVersion(Integer v) { version = v; }
    @DynamoDbAtomicCounter
    public Long getRuns() { return runs; }
    public void setRuns(Long v) { runs = v; }
  }
}
