import type { DialectName } from '../format/dialect-name.ts'
import type { Cloud } from './cloud.ts'
import { ec2Cloud } from './cloud-ec2.ts'
import { ecsCloud } from './cloud-ecs.ts'

/** Every cloud that the simulator plays, by the name of its dialect. */
export const CLOUDS: Readonly<Record<DialectName, Cloud>> = { aliyun: ecsCloud, ec2: ec2Cloud }
