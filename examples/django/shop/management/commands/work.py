"""The worker: it writes invoices, one after the other. After SIGTERM it finishes the one in hand, and ends."""

import signal
import time

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management.base import BaseCommand
from django.db.models import F
from django.utils import timezone

from shop.models import Job


class Command(BaseCommand):
    stopping = False

    def handle(self, **options):
        signal.signal(signal.SIGTERM, self.stop)
        # A worker that was killed left these. It is gone: `stop-first` never runs two at once.
        Job.objects.filter(done=None).update(taken=None)
        while not self.stopping:
            job = take()
            if job:
                do(job)
            else:
                time.sleep(0.2)

    def stop(self, *_):
        self.stopping = True


def take():
    """The oldest job that nobody has taken."""
    job = Job.objects.filter(taken=None).order_by("pk").first()
    free = Job.objects.filter(pk=job.pk, taken=None) if job else Job.objects.none()
    return job if free.update(taken=timezone.now(), attempts=F("attempts") + 1) else None


def do(job):
    time.sleep(0.1)  # in place of real work
    invoice = ContentFile(f"Invoice: {job.order}\n".encode())
    default_storage.save(f"invoices/{job.order_id}.txt", invoice)
    job.done = timezone.now()
    job.save(update_fields=["done"])
