import type { DialectName } from '../format/dialect-name.ts'
import { aliyun } from './aliyun.ts'
import type { Dialect } from './dialect.ts'
import { ec2 } from './ec2.ts'

/** Every cloud's dialect, by its name in the configuration. */
export const DIALECTS: Readonly<Record<DialectName, Dialect>> = { aliyun, ec2 }
