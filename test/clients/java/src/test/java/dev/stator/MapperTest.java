package dev.stator;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.amazonaws.auth.AWSStaticCredentialsProvider;
import com.amazonaws.auth.BasicAWSCredentials;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.dynamodbv2.AmazonDynamoDB;
import com.amazonaws.services.dynamodbv2.AmazonDynamoDBClientBuilder;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBAttribute;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBDocument;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBHashKey;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBIndexHashKey;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBIndexRangeKey;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBMapper;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBMapperConfig;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBMapperConfig.TableNameOverride;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBQueryExpression;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBRangeKey;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBSaveExpression;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBScanExpression;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBTable;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBTransactionWriteExpression;
import com.amazonaws.services.dynamodbv2.datamodeling.DynamoDBVersionAttribute;
import com.amazonaws.services.dynamodbv2.datamodeling.TransactionLoadRequest;
import com.amazonaws.services.dynamodbv2.datamodeling.TransactionWriteRequest;
import com.amazonaws.services.dynamodbv2.model.AttributeValue;
import com.amazonaws.services.dynamodbv2.model.ComparisonOperator;
import com.amazonaws.services.dynamodbv2.model.Condition;
import com.amazonaws.services.dynamodbv2.model.ConditionalCheckFailedException;
import com.amazonaws.services.dynamodbv2.model.ExpectedAttributeValue;
import com.amazonaws.services.dynamodbv2.model.Projection;
import com.amazonaws.services.dynamodbv2.model.ProvisionedThroughput;
import com.amazonaws.services.dynamodbv2.model.TransactionCanceledException;
import com.amazonaws.services.dynamodbv2.util.TableUtils;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** DynamoDBMapper of the AWS SDK for Java v1 against the server whose endpoint is in STATOR_ENDPOINT. */
class MapperTest {
  static final String TABLE = "mapper-" + System.nanoTime();
  static AmazonDynamoDB db;
  static DynamoDBMapper mapper;

  @BeforeAll
  static void createTable() throws InterruptedException {
    db = AmazonDynamoDBClientBuilder.standard()
        .withEndpointConfiguration(new EndpointConfiguration(System.getenv("STATOR_ENDPOINT"), "us-east-1"))
        .withCredentials(new AWSStaticCredentialsProvider(new BasicAWSCredentials("test", "test")))
        .build();
    mapper = new DynamoDBMapper(db, DynamoDBMapperConfig.builder().withTableNameOverride(TableNameOverride.withTableNameReplacement(TABLE)).build());
    var request = mapper.generateCreateTableRequest(Part.class).withProvisionedThroughput(new ProvisionedThroughput(50L, 50L));
    request.getGlobalSecondaryIndexes().forEach(i -> i.withProvisionedThroughput(new ProvisionedThroughput(50L, 50L)).withProjection(new Projection().withProjectionType("ALL")));
    db.createTable(request);
    TableUtils.waitUntilActive(db, TABLE);
  }

  @AfterAll
  static void deleteTable() {
    db.deleteTable(TABLE);
  }

  static Part part(String machine, int number, String kind, double weight) {
    Part p = new Part();
    p.setMachine(machine);
    p.setNumber(number);
    p.setKind(kind);
    p.setWeight(weight);
    return p;
  }

  @Test
  void items() {
    Part p = part("m", 1, "gear", 1.5);
    p.setTags(Set.of("a", "b"));
    Maker maker = new Maker();
    maker.setName("x");
    maker.setSites(List.of("Oslo", "Bergen"));
    p.setMaker(maker);
    p.setSpare(true);
    mapper.save(p);
    assertEquals(1, p.getVersion());
    Part got = mapper.load(Part.class, "m", 1);
    assertEquals(List.of("Oslo", "Bergen"), got.getMaker().getSites());
    assertEquals(Set.of("a", "b"), got.getTags());
    assertEquals(true, got.getSpare());
    got.setWeight(2.0);
    got.setTags(null);
    mapper.save(got); // an UpdateItem with AttributeUpdates and Expected
    assertEquals(2, got.getVersion());
    assertNull(mapper.load(Part.class, "m", 1).getTags());
    p.setWeight(9.0);
    assertThrows(ConditionalCheckFailedException.class, () -> mapper.save(p)); // the version is stale
    Part fresh = part("m", 1, "gear", 0);
    assertThrows(ConditionalCheckFailedException.class, () -> mapper.save(fresh, new DynamoDBSaveExpression()
        .withExpectedEntry("machine", new ExpectedAttributeValue(false))));
    mapper.delete(got);
    assertNull(mapper.load(Part.class, "m", 1));
  }

  @Test
  void queriesAndBatches() {
    List<Part> parts = new ArrayList<>();
    for (int i = 0; i < 60; i++) {
      parts.add(part("q", i, i % 2 == 0 ? "bolt" : "nut", i / 10.0));
    }
    assertEquals(List.of(), mapper.batchSave(parts));
    var query = new DynamoDBQueryExpression<Part>().withHashKeyValues(part("q", 0, null, 0))
        .withRangeKeyCondition("number", new Condition().withComparisonOperator(ComparisonOperator.BETWEEN)
            .withAttributeValueList(new AttributeValue().withN("10"), new AttributeValue().withN("29")))
        .withQueryFilterEntry("kind", new Condition().withComparisonOperator(ComparisonOperator.EQ).withAttributeValueList(new AttributeValue("nut")))
        .withLimit(7);
    assertEquals(10, mapper.query(Part.class, query).size());
    assertEquals(20, mapper.count(Part.class, new DynamoDBQueryExpression<Part>().withKeyConditionExpression("machine = :m AND #n < :n")
        .withExpressionAttributeNames(Map.of("#n", "number"))
        .withExpressionAttributeValues(Map.of(":m", new AttributeValue("q"), ":n", new AttributeValue().withN("20")))));
    // The mapper sends KeyConditions beside a FilterExpression.
    assertEquals(5, mapper.query(Part.class, new DynamoDBQueryExpression<Part>().withHashKeyValues(part("q", 0, null, 0))
        .withFilterExpression("weight < :w AND kind = :k")
        .withExpressionAttributeValues(Map.of(":w", new AttributeValue().withN("1"), ":k", new AttributeValue("bolt")))).size());
    Part kind = new Part();
    kind.setKind("bolt");
    var page = mapper.queryPage(Part.class, new DynamoDBQueryExpression<Part>().withIndexName("by-kind").withConsistentRead(false)
        .withHashKeyValues(kind).withScanIndexForward(false).withLimit(4));
    assertEquals(List.of(58, 56, 54, 52), page.getResults().stream().map(Part::getNumber).toList());
    assertEquals(Set.of("machine", "number", "kind", "weight"), page.getLastEvaluatedKey().keySet());
    assertEquals(3, mapper.scan(Part.class, new DynamoDBScanExpression().withFilterExpression("weight >= :w AND machine = :m")
        .withExpressionAttributeValues(Map.of(":w", new AttributeValue().withN("5.7"), ":m", new AttributeValue("q")))).size());
    assertEquals(60, mapper.parallelScan(Part.class, new DynamoDBScanExpression().withFilterConditionEntry("machine",
        new Condition().withComparisonOperator(ComparisonOperator.BEGINS_WITH).withAttributeValueList(new AttributeValue("q"))), 3).size());
    assertEquals(60, mapper.batchLoad(parts).get(TABLE).size());
    assertEquals(List.of(), mapper.batchDelete(parts));
  }

  @Test
  void transactions() {
    mapper.save(part("t", 1, "gear", 1));
    Part one = mapper.load(Part.class, "t", 1);
    one.setWeight(2.0);
    mapper.transactionWrite(new TransactionWriteRequest().addUpdate(one).addPut(bin(2))
        .addConditionCheck(bin(3), new DynamoDBTransactionWriteExpression().withConditionExpression("attribute_not_exists(machine)")));
    assertEquals(2.0, mapper.load(Part.class, "t", 1).getWeight());
    var canceled = assertThrows(TransactionCanceledException.class, () -> mapper.transactionWrite(new TransactionWriteRequest().addPut(bin(4))
        .addDelete(bin(2), new DynamoDBTransactionWriteExpression().withConditionExpression("size(machine) = :n")
            .withExpressionAttributeValues(Map.of(":n", new AttributeValue().withN("7"))))));
    assertEquals(List.of("None", "ConditionalCheckFailed"), canceled.getCancellationReasons().stream().map(r -> r.getCode()).toList());
    var loaded = mapper.transactionLoad(new TransactionLoadRequest().addLoad(bin(2)).addLoad(bin(4)));
    assertEquals(2, ((Bin) loaded.get(0)).getNumber());
    assertNull(loaded.get(1));
  }

  static Bin bin(int number) {
    Bin b = new Bin();
    b.setMachine("t");
    b.setNumber(number);
    return b;
  }

  /** An item without a version: the mapper takes no conditions for items that have one. */
  @DynamoDBTable(tableName = "replaced")
  public static class Bin {
    private String machine;
    private Integer number;

    @DynamoDBHashKey
    public String getMachine() { return machine; }
    public void setMachine(String v) { machine = v; }
    @DynamoDBRangeKey
    public Integer getNumber() { return number; }
    public void setNumber(Integer v) { number = v; }
  }

  /** An item. */
  @DynamoDBTable(tableName = "replaced")
  public static class Part {
    private String machine;
    private Integer number;
    private String kind;
    private Double weight;
    private Set<String> tags;
    private Maker maker;
    private Boolean spare;
    private Long version;

    @DynamoDBHashKey
    public String getMachine() { return machine; }
    public void setMachine(String v) { machine = v; }
    @DynamoDBRangeKey
    public Integer getNumber() { return number; }
    public void setNumber(Integer v) { number = v; }
    @DynamoDBIndexHashKey(globalSecondaryIndexName = "by-kind")
    public String getKind() { return kind; }
    public void setKind(String v) { kind = v; }
    @DynamoDBIndexRangeKey(globalSecondaryIndexName = "by-kind")
    public Double getWeight() { return weight; }
    public void setWeight(Double v) { weight = v; }
    @DynamoDBAttribute
    public Set<String> getTags() { return tags; }
    public void setTags(Set<String> v) { tags = v; }
    public Maker getMaker() { return maker; }
    public void setMaker(Maker v) { maker = v; }
    public Boolean getSpare() { return spare; }
    public void setSpare(Boolean v) { spare = v; }
    @DynamoDBVersionAttribute
    public Long getVersion() { return version; }
    public void setVersion(Long v) { version = v; }
  }

  /** A part's maker. */
  @DynamoDBDocument
  public static class Maker {
    private String name;
    private List<String> sites;

    public String getName() { return name; }
    public void setName(String v) { name = v; }
    public List<String> getSites() { return sites; }
    public void setSites(List<String> v) { sites = v; }
  }
}
