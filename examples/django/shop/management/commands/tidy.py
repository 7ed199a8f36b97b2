"""Run by cron: jobs that were done a week ago or earlier are deleted."""

from datetime import timedelta

from django.core.management.base import BaseCommand
from django.utils import timezone

from shop.models import Job


class Command(BaseCommand):
    def handle(self, **options):
        deleted, _ = Job.objects.filter(done__lt=timezone.now() - timedelta(days=7)).delete()
        self.stdout.write(f"{deleted} jobs deleted")
