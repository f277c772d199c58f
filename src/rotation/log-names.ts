/** Where the replicas of one realm find what they share. */
export interface LogNames {
  readonly stream: string
  readonly epochs: string
  readonly revocations: string
  /** The key-value bucket of the lease. */
  readonly bucket: string
  /** The stream that holds the bucket. */
  readonly bucketStream: string
  readonly leaseKey: string
  /** The subject of the lease. */
  readonly lease: string
}

/** The names in JetStream for a realm whose subjects begin with `root`. SPEC, "Replicas". */
export function logNames(root: string): LogNames {
  // Names of streams and buckets have no dots.
  const name = root.replaceAll(/[^A-Za-z0-9_-]/g, '_')
  const bucket = `${name}_lease`
  const leaseKey = 'leader'
  return {
    stream: `${name}_log`,
    epochs: `${root}.log.epoch`,
    revocations: `${root}.log.revocation`,
    bucket,
    bucketStream: `KV_${bucket}`,
    leaseKey,
    lease: `$KV.${bucket}.${leaseKey}`,
  }
}
