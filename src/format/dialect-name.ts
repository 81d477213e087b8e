/** The clouds, as configuration and evidence name them. */
export const DIALECT_NAMES = ['aliyun', 'ec2'] as const

export type DialectName = (typeof DIALECT_NAMES)[number]
